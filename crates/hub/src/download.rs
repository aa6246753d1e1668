//! Downloads of files.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use sail_fetch::{FetchError, Response};
use sail_support::{StandIn, hex, stand_in};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::cache::{RemoteFile, write_error};
use crate::client::{Client, failed, stop};
use crate::{FileProgress, HubError, Progress, StopFn};

impl Client<'_> {
    /// Downloads a file to `partial`, resuming an earlier attempt, and verifies it.
    pub(super) fn download(
        &self,
        commit: &str,
        file: &RemoteFile,
        partial: &Path,
        stop_request: Option<&StopFn>,
    ) -> Result<(), HubError> {
        let _span =
            tracing::info_span!("download", repo = self.id, file = file.name, bytes = file.size).entered();
        let url = self.address(commit, &file.name);
        let io = |source| write_error(partial, source);
        let mut out = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(partial)
            .map_err(io)?;
        let mut received = out.seek(SeekFrom::End(0)).map_err(io)?;
        let stop = stop(stop_request);
        let mut backoff = self.backoff(&stop);
        while received != file.size {
            if received > file.size {
                received = 0;
            }
            let mut response = self.request(&url, received, commit, &stop, &mut backoff)?;
            let before = received;
            received = check_start(&url, &mut response, received, file.size)?;
            if out.metadata().map_err(io)?.len() != received {
                out.set_len(received).map_err(io)?;
            }
            out.seek(SeekFrom::Start(received)).map_err(io)?;
            if let Err(failure) = self.receive(&url, file, partial, &mut response, &mut out, &mut received)? {
                if received > before {
                    backoff.reset();
                }
                if received < file.size
                    && let Some(found) = head(&mut out).map_err(io)?
                {
                    discard(out, partial)?;
                    return Err(HubError::StandIn { url, found });
                }
                backoff.wait(failure).map_err(|error| failed(&url, error))?;
            }
        }
        out.sync_all().map_err(io)?;
        let found = hash(&mut out, file).map_err(io)?;
        if found != file.hash {
            let in_place = head(&mut out).map_err(io)?;
            discard(out, partial)?;
            return Err(match in_place {
                Some(found) => HubError::StandIn { url, found },
                None => HubError::Checksum { url, found, expected: file.hash.clone() },
            });
        }
        self.report(file, received);
        Ok(())
    }

    /// Appends the body of a response to a file. The inner error is that of the connection.
    fn receive(
        &self,
        url: &str,
        file: &RemoteFile,
        partial: &Path,
        response: &mut Response,
        out: &mut File,
        received: &mut u64,
    ) -> Result<Result<(), FetchError>, HubError> {
        loop {
            let chunk = match response.chunk() {
                Ok(Some(chunk)) => chunk,
                Ok(None) if *received == file.size => return Ok(Ok(())),
                Ok(None) => return Ok(Err(FetchError::Network(std::io::ErrorKind::UnexpectedEof.into()))),
                Err(failure) => return Ok(Err(failure)),
            };
            if chunk.len() as u64 > file.size - *received {
                return Err(wrong_length(url, "more", file.size));
            }
            out.write_all(&chunk).map_err(|source| write_error(partial, source))?;
            *received += chunk.len() as u64;
            self.report(file, *received);
        }
    }

    fn report(&self, file: &RemoteFile, received: u64) {
        if let Some(progress) = &self.options.progress {
            let of_file = Progress { done: received, total: file.size, unit: "bytes" };
            progress(FileProgress { file: &file.name, progress: of_file });
        }
    }
}

/// Returns the offset at which a response to a request from `wanted` on starts.
///
/// What is not part of the file is not written, so that it does not spoil what was received before.
fn check_start(url: &str, response: &mut Response, wanted: u64, size: u64) -> Result<u64, HubError> {
    let (start, total) = match response.status() {
        // `bytes 100-199/200`
        206 => {
            let range = response
                .header("content-range")
                .strip_prefix("bytes ")
                .and_then(|range| range.split_once('-'));
            let start = range.and_then(|(start, _)| start.parse().ok());
            let total = range.and_then(|(_, rest)| rest.split_once('/')?.1.parse().ok());
            (start.unwrap_or(0), total)
        }
        // A server without support for ranges sends the whole file.
        _ => (0, response.length()),
    };
    if start != 0 && start != wanted {
        let reason = format!("a part from byte {start}, expected byte {wanted}");
        return Err(HubError::Response { url: url.to_owned(), reason });
    }
    match total {
        Some(total) if total != size => {
            let found = response.chunk().ok().flatten().as_deref().and_then(stand_in);
            Err(match found {
                Some(found) => HubError::StandIn { url: url.to_owned(), found },
                None => wrong_length(url, &total.to_string(), size),
            })
        }
        _ => Ok(start),
    }
}

fn wrong_length(url: &str, found: &str, size: u64) -> HubError {
    let than = if found == "more" { "than the" } else { "bytes, expected the" };
    HubError::Response { url: url.to_owned(), reason: format!("{found} {than} {size} bytes listed") }
}

/// Recognises what was sent in the place of a file.
fn head(content: &mut File) -> std::io::Result<Option<StandIn>> {
    content.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    content.take(512).read_to_end(&mut head)?;
    Ok(stand_in(&head))
}

fn discard(out: File, partial: &Path) -> Result<(), HubError> {
    // Windows does not delete open files.
    drop(out);
    std::fs::remove_file(partial).map_err(|source| write_error(partial, source))
}

/// Computes the hash of a file, of the kind in its listing.
fn hash(content: &mut File, file: &RemoteFile) -> std::io::Result<String> {
    content.seek(SeekFrom::Start(0))?;
    let mut sha256 = Sha256::new();
    let mut sha1 = Sha1::new();
    let is_git = file.hash.len() == 40;
    if is_git {
        sha1.update(format!("blob {}\0", file.size));
    }
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = content.read(&mut buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        match (read, is_git) {
            (0, true) => return Ok(hex(&sha1.finalize())),
            (0, false) => return Ok(hex(&sha256.finalize())),
            (_, true) => sha1.update(bytes),
            (_, false) => sha256.update(bytes),
        }
    }
}
