//! [`Bucket`]: a folder that stands for a bucket of S3. An object is a file whose path is its key, with what S3 says of it
//! beside it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::private;

/// Bytes of a name in a folder. A longer one is cut, with a hash in the place of what is left out.
const LONGEST: usize = 200;
const KEPT: usize = 120;
const TAIL: usize = 48;
/// What of a key is written otherwise in a path; its slashes are folders.
const ESCAPED: AsciiSet = CONTROLS.add(b'%').add(b'/').add(b'\\');

/// Where `s3://bucket/prefix` leads to.
pub(super) struct Bucket {
    folder: PathBuf,
    name: String,
    /// What comes before each key.
    prefix: String,
}

/// What S3 keeps of an object beside its content.
pub(super) struct Object<'a> {
    pub(super) key: String,
    pub(super) content_type: &'a str,
    pub(super) metadata: Vec<(String, String)>,
}

impl Bucket {
    /// Of a URI of the scheme `s3`, below the folder of all buckets.
    pub(super) fn of(all: &Path, uri: &str) -> Self {
        let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = match prefix {
            "" => String::new(),
            prefix if prefix.ends_with('/') => prefix.to_owned(),
            prefix => format!("{prefix}/"),
        };
        Self { folder: all.join(segment(name)), name: name.to_owned(), prefix }
    }

    /// Writes an object, whole or not at all. Blocks on the disk.
    pub(super) fn put(&self, object: Object<'_>, content: &[u8]) -> io::Result<PathBuf> {
        let key = format!("{}{}", self.prefix, object.key);
        let path = key.split('/').fold(self.folder.clone(), |path, part| path.join(segment(part)));
        path.parent().map_or(Ok(()), private::folder)?;
        let modified = OffsetDateTime::now_utc().replace_nanosecond(0).map_err(io::Error::other)?;
        // S3 has no capital letters in the names of metadata
        let metadata: Map<String, Value> =
            object.metadata.into_iter().map(|(name, value)| (name.to_lowercase(), value.into())).collect();
        let head = json!({
            "Bucket": self.name,
            "Key": key,
            "ContentLength": content.len(),
            "ContentType": object.content_type,
            "LastModified": modified.format(&Rfc3339).map_err(io::Error::other)?,
            "Metadata": metadata,
        });
        // the object comes last: who sees it finds what belongs to it
        write(&beside(&path), format!("{head:#}\n").as_bytes())?;
        write(&path, content)?;
        Ok(path)
    }
}

fn beside(object: &Path) -> PathBuf {
    let mut path = object.as_os_str().to_owned();
    path.push(".json");
    path.into()
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let written = private::empty_file(Path::new(&part))
        .and_then(|mut file| io::Write::write_all(&mut file, content))
        .and_then(|()| fs::rename(&part, path));
    written.inspect_err(|_| drop(fs::remove_file(&part)))
}

/// A name in a folder for anything that a caller or producer may say: it leads nowhere else, and is no other's.
pub(super) fn segment(text: &str) -> String {
    let name = match text {
        "" => return "%".to_owned(),
        "." | ".." => return text.replace('.', "%2E"),
        text => utf8_percent_encode(text, &ESCAPED).to_string(),
    };
    if name.len() <= LONGEST {
        return name;
    }
    // it is ASCII now
    let hash = hex::encode(&Sha256::digest(text)[..8]);
    format!("{}%{hash}%{}", &name[..KEPT], &name[name.len() - TAIL..])
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_object_is_a_file_with_what_s3_says_of_it_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let bucket = Bucket::of(folder.path(), "s3://yard/cameras");
        let object = Object {
            key: "1_door.jpg".to_owned(),
            content_type: "image/jpeg",
            metadata: vec![("Who".to_owned(), "dog".to_owned())],
        };
        let path = bucket.put(object, b"picture").unwrap();
        assert_eq!(path, folder.path().join("yard/cameras/1_door.jpg"));
        assert_eq!(fs::read(&path).unwrap(), b"picture");
        let head: Value = serde_json::from_slice(&fs::read(beside(&path)).unwrap()).unwrap();
        assert_eq!(head["Key"], "cameras/1_door.jpg");
        assert_eq!((&head["ContentLength"], &head["Metadata"]), (&json!(7), &json!({"who": "dog"})));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
        for uri in ["s3:yard/cameras/", "s3://yard/cameras/"] {
            assert_eq!(Bucket::of(folder.path(), uri).prefix, "cameras/");
        }
        assert_eq!(Bucket::of(folder.path(), "s3://yard").prefix, "");
    }

    proptest! {
        #[test]
        fn a_name_stays_in_its_folder_and_is_no_others(
            one in prop_oneof![".{0,20}", "[./%]{0,4}", "[aä]{150,400}"], other in "[./%a]{0,4}",
        ) {
            let (name, theirs) = (segment(&one), segment(&other));
            let path = PathBuf::from(&name);
            let parts: Vec<_> = path.components().collect();
            prop_assert!(matches!(parts[..], [Component::Normal(_)]), "{name}");
            prop_assert!(name.len() + ".json.part".len() <= 255);
            prop_assert_eq!(one == other, name == theirs);
        }
    }
}
