//! The simple handshake (section 5.2). The one with digests, which Flash players were asked for, no publisher needs.

use super::error::PublishError;

/// The only version.
const VERSION: u8 = 3;
/// Of C1, S1, C2 and S2.
const LENGTH: usize = 1536;

/// Our side of it.
pub(super) struct Handshake {
    /// S0, S1 and S2 as far as they are here: 3073 bytes at most.
    input: Vec<u8>,
    answered: bool,
    done: bool,
}

impl Handshake {
    /// With C0 and C1.
    pub(super) fn begin(random: &[u8; 1528]) -> (Self, Vec<u8>) {
        let mut hello = Vec::with_capacity(1 + LENGTH);
        hello.push(VERSION);
        // Time, and zero: the handshake without digests.
        hello.extend_from_slice(&[0; 8]);
        hello.extend_from_slice(random);
        (Self { input: Vec::new(), answered: false, done: false }, hello)
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// C2, when it is time for it, and what is none of the handshake. C2 follows S1: a server may wait for it before it sends
    /// S2.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(Option<Vec<u8>>, Vec<u8>), PublishError> {
        if self.done {
            return Ok((None, bytes.to_vec()));
        }
        let missing = 1 + 2 * LENGTH - self.input.len();
        let (ours, rest) = bytes.split_at(missing.min(bytes.len()));
        self.input.extend_from_slice(ours);
        if let Some(version) = self.input.first().filter(|version| **version != VERSION) {
            return Err(PublishError::NotRtmp { first: *version });
        }
        let mut reply = None;
        if !self.answered
            && let Some(echo) = self.input.get(1..1 + LENGTH)
        {
            self.answered = true;
            reply = Some(echo.to_vec());
        }
        if self.input.len() == 1 + 2 * LENGTH {
            self.done = true;
            self.input = Vec::new();
        }
        Ok((reply, rest.to_vec()))
    }
}
