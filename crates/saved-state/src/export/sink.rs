// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where memory images go.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use crate::memory::PAGE_SIZE;

/// Takes an image from its first byte to its last.
pub trait Sink {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// What the system says.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Takes that many zeros, or leaves a hole.
    ///
    /// # Errors
    /// What the system says.
    fn skip(&mut self, size: u64) -> io::Result<()>;

    /// Nothing follows.
    ///
    /// # Errors
    /// What the system says.
    fn finish(&mut self) -> io::Result<()>;
}

/// A new file, in which zeros take no room.
#[derive(Debug)]
pub struct FileSink {
    file: File,
    /// Where the next byte goes.
    position: u64,
    /// Where the file itself stands.
    written: u64,
}

impl FileSink {
    /// Takes a file that is empty and open for writing.
    pub fn new(file: File) -> Self {
        Self { file, position: 0, written: 0 }
    }
}

impl Sink for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let zeros = run(rest, true);
            self.position += zeros as u64;
            let data = run(&rest[zeros..], false);
            if data > 0 {
                if self.written != self.position {
                    self.file.seek(SeekFrom::Start(self.position))?;
                }
                self.file.write_all(&rest[zeros..zeros + data])?;
                self.position += data as u64;
                self.written = self.position;
            }
            rest = &rest[zeros + data..];
        }
        Ok(())
    }

    fn skip(&mut self, size: u64) -> io::Result<()> {
        self.position = self.position.checked_add(size).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.file.set_len(self.position)?;
        self.file.sync_data()
    }
}

/// Bytes at the start of `bytes`, in whole pages as far as there are any, that all are zero, or that are not.
fn run(bytes: &[u8], zero: bool) -> usize {
    let pages = bytes.chunks(PAGE_SIZE).take_while(|page| is_zero(page) == zero);
    pages.map(<[u8]>::len).sum()
}

fn is_zero(page: &[u8]) -> bool {
    let (wide, rest) = page.as_chunks::<64>();
    wide.iter().all(|bytes| *bytes == [0; 64]) && rest.iter().all(|&byte| byte == 0)
}

/// Anything that takes bytes one after the other, such as standard output.
#[derive(Debug)]
pub struct StreamSink<W>(pub W);

impl<W: Write> Sink for StreamSink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn skip(&mut self, size: u64) -> io::Result<()> {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        let mut left = size;
        while left > 0 {
            let now = left.min(ZEROS.len() as u64);
            self.0.write_all(&ZEROS[..now as usize])?;
            left -= now;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
