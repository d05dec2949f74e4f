//! Keys and certificates of a control plane that lives for a test: made by openssl, EC P-256.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::node::Node;

/// The files of a folder.
#[derive(Clone, Debug)]
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes them, unless they are there; those of a node, too, when there is one.
    pub fn ensure(folder: &Path, node: Option<&Node>) -> Result<Self> {
        let pki = Self { folder: folder.to_owned() };
        if pki.path("complete").exists() {
            return Ok(pki);
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // Whoever reads these is the cluster's administrator.
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        pki.key("ca")?;
        pki.openssl(&[
            "req",
            "-x509",
            "-new",
            "-key",
            "ca.key",
            "-days",
            "30",
            "-subj",
            "/CN=kvs-ingest-test",
            "-out",
            "ca.crt",
        ])?;
        pki.key("sa")?;
        pki.openssl(&["ec", "-in", "sa.key", "-pubout", "-out", "sa.pub"])?;
        let mut names =
            "subjectAltName=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
                         IP:127.0.0.1,IP:10.96.0.1"
                .to_owned();
        if let Some(node) = node {
            names.push_str(&format!(",IP:{},IP:{}", node.host_address, node.api_address));
            let subject = format!("/O=system:nodes/CN=system:node:{}", node.name);
            pki.certificate("kubelet", &subject, None)?;
            pki.certificate("kube-proxy", "/CN=system:kube-proxy", None)?;
            pki.certificate("apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver", None)?;
        }
        pki.certificate("apiserver", "/CN=kube-apiserver", Some(&names))?;
        pki.certificate("admin", "/O=system:masters/CN=admin", None)?;
        pki.certificate("scheduler", "/CN=system:kube-scheduler", None)?;
        fs::write(pki.path("complete"), "")?;
        Ok(pki)
    }

    fn key(&self, name: &str) -> Result<()> {
        self.openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &format!("{name}.key")])
    }

    fn certificate(&self, name: &str, subject: &str, extension: Option<&str>) -> Result<()> {
        let (key, request, out) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        self.key(name)?;
        self.openssl(&["req", "-new", "-key", &key, "-subj", subject, "-out", &request])?;
        let extensions = self.path(&format!("{name}.ext"));
        fs::write(&extensions, extension.unwrap_or("extendedKeyUsage=clientAuth"))?;
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "30",
            "-extfile",
            &format!("{name}.ext"),
            "-out",
            &out,
        ])
    }

    fn openssl(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .context("cannot run openssl (Debian package openssl)")?;
        if !output.status.success() {
            bail!("openssl {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// A kubeconfig for the holder of a certificate, without references to other files.
    pub fn kubeconfig(&self, user: &str, server: &str) -> Result<PathBuf> {
        let data = |file: &str| -> Result<String> {
            let path = self.path(file);
            Ok(base64(&fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?))
        };
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: kvs-ingest\n\
             clusters:\n- name: kvs-ingest\n  cluster: {{server: \"{server}\", certificate-authority-data: {}}}\n\
             users:\n- name: {user}\n  user: {{client-certificate-data: {}, client-key-data: {}}}\n\
             contexts:\n- name: kvs-ingest\n  context: {{cluster: kvs-ingest, user: {user}}}\n",
            data("ca.crt")?,
            data(&format!("{user}.crt"))?,
            data(&format!("{user}.key"))?,
        );
        let path = self.path(&format!("{user}.kubeconfig"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// RFC 4648, section 4. A dependency for these lines would be compiled before anything can be installed.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .enumerate()
            .fold(0u32, |word, (index, byte)| word | u32::from(*byte) << (16 - 8 * index));
        for index in 0..4 {
            let symbol = ALPHABET[(word >> (18 - 6 * index)) as usize & 63];
            text.push(if index <= chunk.len() { char::from(symbol) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(super::base64(text.as_bytes()), encoded);
        }
    }
}
