//! Puts the blocks of a streamed answer together again.
//!
//! Streams interleave blocks by index: a block is opened, grows by deltas, and is closed. Chunks get lost and logs are
//! cut, so a delta without an opening opens its block, and nothing waits for the closing.

use super::parts::Turn;
use crate::ingest::json::Value;
use crate::ingest::record::{CallRow, PartType};

/// The blocks seen so far, in the order in which they began.
#[derive(Debug, Default)]
pub(crate) struct Blocks<'a> {
    blocks: Vec<Block<'a>>,
}

#[derive(Debug)]
struct Block<'a> {
    index: i64,
    part_type: PartType,
    name: Option<&'a str>,
    id: Option<&'a str>,
    text: String,
}

impl<'a> Blocks<'a> {
    /// Opens a block.
    pub(crate) fn open(
        &mut self,
        index: i64,
        part_type: PartType,
        name: Option<&'a str>,
        id: Option<&'a str>,
    ) {
        self.blocks.push(Block {
            index,
            part_type,
            name,
            id,
            text: String::new(),
        });
    }

    /// Appends to the newest block of that index and kind; opens it if there is none.
    pub(crate) fn append(&mut self, index: i64, part_type: PartType, text: &str) {
        let block = match self
            .blocks
            .iter()
            .rposition(|block| block.index == index && block.part_type == part_type)
        {
            Some(at) => &mut self.blocks[at],
            None => {
                self.open(index, part_type, None, None);
                self.blocks.last_mut().expect("one was just opened")
            }
        };
        block.text.push_str(text);
    }

    /// Hands the blocks on as parts; `keeper` is any value of the record, whose memory keeps the texts.
    pub(crate) fn finish(self, turn: Turn<'a>, keeper: Value<'a>, row: &mut CallRow<'a>) {
        for block in self.blocks {
            let text = keeper.keep(&block.text);
            match block.part_type {
                PartType::ToolCall => turn.tool_call(row, block.name, block.id, Some(text)),
                part_type => turn.text(row, part_type, text),
            }
        }
    }
}
