// Builds the front end into dist/, which the program embeds. `--check` builds beside it and compares.
//
//   npm ci && npm run build

import { build } from 'esbuild'
import { readFile, mkdtemp, rm, copyFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const isCheck = process.argv.includes('--check')
const out = isCheck ? await mkdtemp(join(tmpdir(), 'inferwatch-web-')) : join(here, 'dist')
const FILES = ['app.js', 'app.css', 'icon.svg', 'LICENSES.txt']

try {
  const common = { bundle: true, minify: true, legalComments: 'none', charset: 'utf8', logLevel: 'warning', absWorkingDir: here }
  await build({ ...common, entryPoints: ['src/main.js'], outfile: join(out, 'app.js'), format: 'iife', target: 'es2022' })
  await build({ ...common, entryPoints: ['src/style.css'], outfile: join(out, 'app.css'), target: ['chrome111', 'firefox113', 'safari16.4'] })
  await copyFile(join(here, 'src/icon.svg'), join(out, 'icon.svg'))
  const license = await readFile(join(here, 'node_modules/uplot/LICENSE'), 'utf8')
  const { version } = JSON.parse(await readFile(join(here, 'node_modules/uplot/package.json'), 'utf8'))
  await writeFile(join(out, 'LICENSES.txt'), `app.js contains uPlot ${version} (https://github.com/leeoniya/uPlot):\n\n${license.trim()}\n`)
  if (isCheck) {
    const stale = []
    for (const file of FILES) {
      const [built, kept] = await Promise.all([readFile(join(out, file)), readFile(join(here, 'dist', file)).catch(() => Buffer.alloc(0))])
      if (!built.equals(kept)) stale.push(file)
    }
    if (stale.length > 0) {
      console.error(`web/dist is not what web/src builds: ${stale.join(', ')}\nhint: npm run build, in web/`)
      process.exitCode = 1
    } else console.log('web/dist is current')
  }
} finally {
  if (isCheck) await rm(out, { recursive: true })
}
