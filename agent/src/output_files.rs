//! Files in the place of the Secrets and ConfigMaps that a manifest's outputs name: there are none on a laptop.

use clap::Args;
use kvs_ingest_api::{OutputConfig, OutputSpec, RtmpConfig, RtmpSpec};
use std::path::PathBuf;
use thiserror::Error;

/// The flags. Each is given once for each output that needs it.
#[derive(Args, Clone, Debug, Default)]
pub struct OutputFiles {
    /// A file with the URL of an output whose manifest says urlSecretRef. It is read at each connection.
    #[arg(long = "output-url-file", value_name = "NAME=FILE", value_parser = named)]
    urls: Vec<(String, PathBuf)>,

    /// A file with the stream key of an output whose manifest says streamKeySecretRef. It is read at each
    /// connection.
    #[arg(long = "output-stream-key-file", value_name = "NAME=FILE", value_parser = named)]
    stream_keys: Vec<(String, PathBuf)>,

    /// A file (PEM) with the certificate authorities of an output whose manifest says caBundleRef.
    #[arg(long = "output-ca-bundle", value_name = "NAME=FILE", value_parser = named)]
    ca_bundles: Vec<(String, PathBuf)>,
}

/// What is secret of an output is not given as it should be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OutputFileError {
    /// The manifest names a Secret or ConfigMap, and no flag a file.
    #[error(
        "spec.outputs: {output}: {field} needs a file, for there is no Kubernetes here: {flag} {output}=FILE"
    )]
    Missing { output: String, field: &'static str, flag: &'static str },
    /// A flag names a file, and the manifest has no use for it.
    #[error("{flag} {output}=…: the manifest has no output of this name with {field}")]
    Unused { output: String, field: &'static str, flag: &'static str },
    /// Two files for one thing.
    #[error("{flag} {output}=…: it is given twice")]
    Twice { output: String, flag: &'static str },
    /// They come with a manifest: the operator's configuration has the files in it.
    #[error("{flag} goes with --ingest")]
    WithoutManifest { flag: &'static str },
}

/// A field of `rtmp` that a file stands for, its flag, and whether an output has it.
struct Kind {
    field: &'static str,
    flag: &'static str,
    is_declared: fn(&RtmpSpec) -> bool,
}

const URL: Kind = Kind {
    field: "rtmp.urlSecretRef",
    flag: "--output-url-file",
    is_declared: |rtmp| rtmp.url_secret_ref.is_some(),
};
const STREAM_KEY: Kind = Kind {
    field: "rtmp.streamKeySecretRef",
    flag: "--output-stream-key-file",
    is_declared: |rtmp| rtmp.stream_key_secret_ref.is_some(),
};
const CA_BUNDLE: Kind = Kind {
    field: "rtmp.caBundleRef",
    flag: "--output-ca-bundle",
    is_declared: |rtmp| rtmp.ca_bundle_ref.is_some(),
};

impl OutputFiles {
    /// The outputs of a manifest that keeps the rules, with these files.
    ///
    /// # Errors
    ///
    /// A file is missing, or has no use.
    pub(crate) fn outputs(&self, declared: &[OutputSpec]) -> Result<Vec<OutputConfig>, OutputFileError> {
        for (kind, files) in self.all() {
            for (index, (output, _)) in files.iter().enumerate() {
                let mut rtmp =
                    declared.iter().filter(|spec| spec.name == *output).flat_map(|spec| &spec.rtmp);
                if !rtmp.any(kind.is_declared) {
                    let (field, flag) = (kind.field, kind.flag);
                    return Err(OutputFileError::Unused { output: output.clone(), field, flag });
                }
                if files[..index].iter().any(|(other, _)| other == output) {
                    return Err(OutputFileError::Twice { output: output.clone(), flag: kind.flag });
                }
            }
        }
        let rtmp = |spec: &OutputSpec| spec.rtmp.clone().map(|rtmp| self.output(spec, rtmp));
        declared.iter().filter_map(rtmp).collect()
    }

    fn output(&self, spec: &OutputSpec, rtmp: RtmpSpec) -> Result<OutputConfig, OutputFileError> {
        let [urls, stream_keys, ca_bundles] = self.all().map(|(kind, files)| {
            let file = files.iter().find(|(name, _)| *name == spec.name).map(|(_, file)| file.clone());
            match file {
                None if (kind.is_declared)(&rtmp) => {
                    let (field, flag) = (kind.field, kind.flag);
                    Err(OutputFileError::Missing { output: spec.name.clone(), field, flag })
                }
                file => Ok(file),
            }
        });
        Ok(OutputConfig {
            name: spec.name.clone(),
            required: spec.required,
            rtmp: RtmpConfig {
                url: rtmp.url,
                url_file: urls?,
                stream_key_file: stream_keys?,
                ca_bundle: ca_bundles?,
                silence: rtmp.silence,
            },
        })
    }

    /// # Errors
    ///
    /// There is one.
    pub(crate) fn must_be_none(&self) -> Result<(), OutputFileError> {
        match self.all().into_iter().find(|(_, files)| !files.is_empty()) {
            Some((Kind { flag, .. }, _)) => Err(OutputFileError::WithoutManifest { flag }),
            None => Ok(()),
        }
    }

    fn all(&self) -> [(Kind, &[(String, PathBuf)]); 3] {
        [(URL, &self.urls), (STREAM_KEY, &self.stream_keys), (CA_BUNDLE, &self.ca_bundles)]
    }
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err("it is not NAME=FILE, such as ivs=stream-key.txt".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        files: OutputFiles,
    }

    fn files(flags: &[&str]) -> OutputFiles {
        Flags::try_parse_from(["x"].iter().chain(flags)).unwrap().files
    }

    fn declared() -> Vec<OutputSpec> {
        let reference = |name: &str| kvs_ingest_api::SecretKeyRef { name: name.into(), key: "k".into() };
        vec![
            OutputSpec {
                name: "ivs".into(),
                required: true,
                rtmp: Some(RtmpSpec {
                    url: Some("rtmps://ingest.example/app".into()),
                    stream_key_secret_ref: Some(reference("ivs")),
                    ..RtmpSpec::default()
                }),
            },
            OutputSpec {
                name: "own".into(),
                required: false,
                rtmp: Some(RtmpSpec { url_secret_ref: Some(reference("own")), ..RtmpSpec::default() }),
            },
        ]
    }

    #[test]
    fn files_stand_for_secrets() {
        let given = files(&["--output-stream-key-file", "ivs=/k=y", "--output-url-file=own=/url"]);
        let outputs = given.outputs(&declared()).unwrap();
        assert_eq!(outputs[0].rtmp.url.as_deref(), Some("rtmps://ingest.example/app"));
        assert_eq!(outputs[0].rtmp.stream_key_file, Some("/k=y".into()), "a name has no =, a file may");
        assert_eq!(outputs[1].rtmp.url_file, Some("/url".into()));
        assert!(outputs[0].required && !outputs[1].required);
        assert_eq!(given.must_be_none().unwrap_err().to_string(), "--output-url-file goes with --ingest");
        assert_eq!(OutputFiles::default().must_be_none(), Ok(()));
        assert_eq!(OutputFiles::default().outputs(&[]), Ok(Vec::new()));
    }

    #[test]
    fn what_is_missing_or_has_no_use_names_the_flag() {
        let (key, url) = ("--output-stream-key-file=ivs=k", "--output-url-file=own=u");
        for (flags, words) in [
            (&[url][..], "ivs: rtmp.streamKeySecretRef needs a file"),
            (&[key], "--output-url-file own=FILE"),
            (&[key, url, "--output-url-file=ivs=u"], "--output-url-file ivs=…: the manifest has no output"),
            (&[key, url, "--output-ca-bundle=none=u"], "no output of this name with rtmp.caBundleRef"),
            (&[key, url, key], "--output-stream-key-file ivs=…: it is given twice"),
        ] {
            let error = files(flags).outputs(&declared()).unwrap_err().to_string();
            assert!(error.contains(words), "{flags:?}: {error}");
        }
        for flag in ["--output-url-file=ivs", "--output-url-file==u", "--output-url-file=ivs="] {
            let error = Flags::try_parse_from(["x", flag]).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("NAME=FILE"), "{error}");
        }
    }
}
