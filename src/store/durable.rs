//! The local file system as an object store whose writes last.
//!
//! `object_store`'s own does not synchronise, and the Delta kernel writes log entries and checkpoints through it.
//! Reading and listing are passed on.

use std::path::PathBuf;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart,
};

use crate::store::disk::{self, Access};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct DurableFileSystem {
    inner: LocalFileSystem,
    access: Access,
}

impl DurableFileSystem {
    /// The files below a folder; new ones are for those who have access.
    pub(super) fn new(folder: &std::path::Path, access: Access) -> Result<DurableFileSystem> {
        Ok(DurableFileSystem {
            inner: LocalFileSystem::new_with_prefix(folder)?,
            access,
        })
    }
}

fn failed(error: crate::Error) -> Error {
    Error::Generic {
        store: "durable file system",
        source: Box::new(error),
    }
}

impl std::fmt::Display for DurableFileSystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("durable file system")
    }
}

impl DurableFileSystem {
    /// Log entries are small, so they are written in one piece on the kernel's own thread.
    fn put(&self, location: &Path, payload: &PutPayload, mode: &PutMode) -> Result<PutResult> {
        let path = self.inner.path_to_filesystem(location)?;
        let bytes = payload.iter().fold(
            Vec::with_capacity(payload.content_length()),
            |mut all, part| {
                all.extend_from_slice(part);
                all
            },
        );
        let done = match mode {
            PutMode::Create => disk::write_new(&path, &bytes, self.access).map_err(failed)?,
            PutMode::Overwrite => disk::replace(&path, &bytes, self.access)
                .map(|()| true)
                .map_err(failed)?,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "conditional update".into(),
                    implementer: "durable file system".into(),
                });
            }
        };
        if !done {
            return Err(Error::AlreadyExists {
                path: location.to_string(),
                source: std::io::Error::from(std::io::ErrorKind::AlreadyExists).into(),
            });
        }
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }
}

#[async_trait]
impl ObjectStore for DurableFileSystem {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.put(location, &payload, &options.mode)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(DurableUpload {
            inner,
            path,
            access: self.access,
        }) as Box<dyn MultipartUpload>)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// An upload that ends only when the file is on the disk; the kernel writes large checkpoints so.
#[derive(Debug)]
struct DurableUpload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
    access: Access,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        disk::sync_file(&self.path, self.access).map_err(failed)?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
