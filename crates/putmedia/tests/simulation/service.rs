//! A PutMedia service that keeps what it gets: reads our own Matroska layout and says what the service would.

use std::collections::BTreeMap;

/// Frames of a fragment, by their numbers.
pub type Frames = Vec<u64>;

/// What is stored, and what came.
#[derive(Debug, Default)]
pub struct Service {
    /// By timecode.
    pub stored: BTreeMap<u64, Frames>,
    /// Fragments that were stored again.
    pub duplicates: u64,
    session: Vec<u8>,
    read: usize,
    open: Option<(u64, Frames)>,
    /// Highest timecode of the session.
    latest: Option<u64>,
    headers: usize,
}

/// What a session's bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Begun(u64),
    Complete(u64, Frames),
}

const EBML: u64 = 0x1a45_dfa3;
const SEGMENT: u64 = 0x1853_8067;
const CLUSTER: u64 = 0x1f43_b675;
const TAGS: u64 = 0x1254_c367;
const TIMECODE: u64 = 0xe7;
const BLOCK: u64 = 0xa3;

impl Service {
    /// A new session begins; what was open is forgotten.
    pub fn open(&mut self) {
        self.session.clear();
        (self.read, self.open, self.latest, self.headers) = (0, None, None, 0);
    }

    /// The fragment that is open.
    pub fn open_timecode(&self) -> Option<u64> {
        self.open.as_ref().map(|(timecode, _)| *timecode)
    }

    /// Takes bytes of the body.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.session.extend_from_slice(bytes);
        let mut heard = Vec::new();
        while let Some((id, size, head)) = element(&self.session[self.read..]) {
            let body = self.read + head;
            match (id, size) {
                (SEGMENT, None) => {}
                (CLUSTER, None) => self.complete(&mut heard),
                (_, None) => panic!("{id:x} of unknown size"),
                (_, Some(size)) if self.session.len() < body + size => break,
                (id, Some(size)) => {
                    let content = self.session[body..body + size].to_vec();
                    self.read += size;
                    self.known(id, &content, &mut heard);
                }
            }
            self.read += head;
        }
        heard
    }

    fn known(&mut self, id: u64, content: &[u8], heard: &mut Vec<Heard>) {
        match id {
            EBML => {
                self.headers += 1;
                assert_eq!(self.headers, 1, "a session has one header");
            }
            TIMECODE => {
                let timecode = u64::from_be_bytes(content.try_into().unwrap());
                assert!(self.latest.is_none_or(|latest| latest < timecode), "a session's time only grows");
                self.open = Some((timecode, Vec::new()));
                self.latest = Some(timecode);
                heard.push(Heard::Begun(timecode));
            }
            BLOCK => {
                let number = u64::from_be_bytes(content[4..12].try_into().unwrap());
                self.open.as_mut().expect("a block is in a cluster").1.push(number);
            }
            TAGS => self.complete(heard),
            _ => {}
        }
    }

    fn complete(&mut self, heard: &mut Vec<Heard>) {
        if let Some((timecode, frames)) = self.open.take() {
            heard.push(Heard::Complete(timecode, frames));
        }
    }

    /// Keeps a complete fragment.
    pub fn store(&mut self, timecode: u64, frames: Frames) {
        match self.stored.get(&timecode) {
            Some(known) => {
                assert_eq!(*known, frames, "the same timecode is the same fragment");
                self.duplicates += 1;
            }
            None => drop(self.stored.insert(timecode, frames)),
        }
    }
}

/// Id, size unless it is unknown, and length of the head of an element, when all of its head is there.
fn element(bytes: &[u8]) -> Option<(u64, Option<usize>, usize)> {
    let width = |first: u8| first.leading_zeros() as usize + 1;
    let id_len = width(*bytes.first()?);
    let id = bytes.get(..id_len)?.iter().fold(0, |id, byte| id << 8 | u64::from(*byte));
    let first = *bytes.get(id_len)?;
    let size_len = width(first);
    let rest = bytes.get(id_len..id_len + size_len)?;
    let value = rest.iter().fold(0, |size: u64, byte| size << 8 | u64::from(*byte));
    let value = value & !(1 << (7 * size_len));
    let unknown = value == (1 << (7 * size_len)) - 1;
    Some((id, (!unknown).then_some(value as usize), id_len + size_len))
}
