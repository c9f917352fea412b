//! Deploys the template through CloudFormation, as to AWS: uploads under the hash of their content, the template rewritten to
//! them, then create or update. An unchanged deployment is left alone.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use aws_config::SdkConfig;
use aws_sdk_s3::primitives::ByteStream;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cloudformation::{Change, CloudFormation};
use super::files;
use super::progress::Progress;
use super::template::Template;

/// The bucket of the package and the definitions, which is not part of the stack.
const CODE_BUCKET: &str = "fresco-code";
const COMPLETE_WITHIN: Duration = Duration::from_secs(180);
/// No webhook can arrive until the API's address is known.
const NO_URL_YET: &str = "none";

/// A deployment of the template.
#[derive(Debug)]
pub(crate) struct Deployment {
    /// The CloudFormation stack.
    pub(crate) stack: &'static str,
    /// The template.
    pub(crate) template: PathBuf,
    /// Values for its parameters; `PublicUrl` is added.
    pub(crate) parameters: BTreeMap<String, String>,
    /// Base of the emulator, from which the URL of the HTTP API is made.
    pub(crate) endpoint_url: String,
    /// The file with the fingerprint of the last deployment.
    pub(crate) note: PathBuf,
    /// The folder in which the emulator unpacks functions.
    pub(crate) scratch: PathBuf,
    /// Whether a stack that exists is updated.
    pub(crate) update: bool,
}

/// The last deployment.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    deployed: String,
}

/// The stack's outputs, by name.
pub(crate) type Outputs = BTreeMap<String, String>;

/// A deployed stack.
#[derive(Debug)]
pub(crate) struct Deployed {
    /// The stack's outputs.
    pub(crate) outputs: Outputs,
    /// The parameters that were given.
    pub(crate) parameters: BTreeMap<String, String>,
}

impl Deployment {
    /// Creates the stack, or updates it if the template, its parameters or the functions changed.
    pub(crate) async fn ensure(&self, config: &SdkConfig, progress: &Progress) -> anyhow::Result<Deployed> {
        let text = fs::read_to_string(&self.template);
        let text = text.with_context(|| format!("cannot read {}", self.template.display()))?;
        let template = Template::parse(&self.template, text)?;
        let mut uploads: BTreeMap<&Path, Upload> = BTreeMap::new();
        let mut named = Vec::new();
        for reference in template.references() {
            // Every function names the same package.
            let upload = match uploads.entry(&reference.path) {
                Entry::Occupied(read) => read.into_mut(),
                Entry::Vacant(entry) => entry.insert(Upload::read(&reference.path)?),
            };
            named.push(upload.key.clone());
        }
        let mut uploads: Vec<Upload> = uploads.into_values().collect();
        let body = template.packaged(CODE_BUCKET, &named);
        // CloudFormation takes 51,200 bytes with a call; a longer template it reads from S3.
        let packaged = Upload::of("template.yaml", body.clone().into_bytes());
        let template_url = format!("{}/{CODE_BUCKET}/{}", self.endpoint_url, packaged.key);
        uploads.push(packaged);
        let keys: Vec<&str> = uploads.iter().map(|upload| upload.key.as_str()).collect();
        let service = CloudFormation::new(config, self.stack, COMPLETE_WITHIN);

        let existing = service.usable(progress).await?;
        let outputs = match existing {
            Some(outputs) => {
                let noted = files::read_json::<Note>(&self.note).unwrap_or_default();
                let wanted = self.parameters_with(&public_url(&self.endpoint_url, &outputs)?);
                if !self.update || noted.deployed == fingerprint(&body, &wanted) {
                    return Ok(Deployed { outputs, parameters: wanted });
                }
                progress.step("updating the stack");
                upload(config, &uploads).await?;
                outputs
            }
            None => {
                progress.step("deploying the stack");
                upload(config, &uploads).await?;
                service.apply(Change::Create, &template_url, &self.parameters_with(NO_URL_YET)).await?
            }
        };
        // Until the fingerprint is written again, the stack does not count as deployed.
        files::remove(&self.note)?;
        let wanted = self.parameters_with(&public_url(&self.endpoint_url, &outputs)?);
        let outputs = service.apply(Change::Update, &template_url, &wanted).await?;
        prune(config, &keys).await?;
        prune_unpacked(&self.scratch, &keys);
        files::write_json(&self.note, &Note { deployed: fingerprint(&body, &wanted) })?;
        Ok(Deployed { outputs, parameters: wanted })
    }

    fn parameters_with(&self, public_url: &str) -> BTreeMap<String, String> {
        let mut parameters = self.parameters.clone();
        parameters.entry("PublicUrl".to_owned()).or_insert_with(|| public_url.to_owned());
        parameters
    }
}

/// The URL at which the emulator serves the HTTP API.
pub(super) fn public_url(endpoint_url: &str, outputs: &Outputs) -> anyhow::Result<String> {
    let api = outputs.get("ApiId").context("the stack has no output ApiId")?;
    Ok(format!("{endpoint_url}/_aws/execute-api/{api}/$default"))
}

fn fingerprint(body: &str, parameters: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    // Lengths keep neighbours apart. The uploads are in the body, by the hashes in their keys.
    for text in std::iter::once(body).chain(parameters.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]))
    {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hex::encode(hash.finalize())
}

/// A file for the code bucket.
struct Upload {
    key: String,
    bytes: Vec<u8>,
}

impl Upload {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self::of(&name, bytes))
    }

    fn of(name: &str, bytes: Vec<u8>) -> Self {
        Self { key: format!("{}/{name}", &hex::encode(Sha256::digest(&bytes))[..32]), bytes }
    }
}

async fn upload(config: &SdkConfig, uploads: &[Upload]) -> anyhow::Result<()> {
    let s3 = aws_sdk_s3::Client::new(config);
    if s3.head_bucket().bucket(CODE_BUCKET).send().await.is_err() {
        s3.create_bucket().bucket(CODE_BUCKET).send().await.context("cannot create the bucket for code")?;
    }
    for upload in uploads {
        if s3.head_object().bucket(CODE_BUCKET).key(&upload.key).send().await.is_ok() {
            continue;
        }
        let body = ByteStream::from(upload.bytes.clone());
        let put = s3.put_object().bucket(CODE_BUCKET).key(&upload.key).body(body).send().await;
        put.with_context(|| format!("cannot upload {}", upload.key))?;
    }
    Ok(())
}

/// Removes code that is no longer deployed: every build leaves megabytes.
async fn prune(config: &SdkConfig, keys: &[&str]) -> anyhow::Result<()> {
    let s3 = aws_sdk_s3::Client::new(config);
    let listed = s3.list_objects_v2().bucket(CODE_BUCKET).send().await.context("cannot list the bucket for code")?;
    for key in listed.contents().iter().filter_map(|object| object.key()).filter(|key| !keys.contains(key)) {
        let deleted = s3.delete_object().bucket(CODE_BUCKET).key(key).send().await;
        deleted.with_context(|| format!("cannot remove {key}"))?;
    }
    Ok(())
}

/// Removes the folders into which the emulator unpacked such code; they are named by its hash. A folder that cannot be removed
/// only takes room.
fn prune_unpacked(scratch: &Path, keys: &[&str]) {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let caches = entries(scratch).filter(|path| path.to_string_lossy().contains("provided-code"));
    for unpacked in caches.flat_map(|cache| entries(&cache).collect::<Vec<_>>()) {
        let name = unpacked.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !keys.iter().filter_map(|key| key.split('/').next()).any(|hash| name.starts_with(hash)) {
            drop(fs::remove_dir_all(&unpacked));
        }
    }
}

/// Stores the simulator's key where the functions look for the provider's.
pub(crate) async fn put_secret(config: &SdkConfig, outputs: &Outputs, name: &str, value: &str) -> anyhow::Result<()> {
    let prefix = outputs.get("SecretsPrefix").map_or("/fresco", String::as_str);
    let name = format!("{prefix}/{name}");
    aws_sdk_ssm::Client::new(config)
        .put_parameter()
        .name(&name)
        .value(value)
        .r#type(aws_sdk_ssm::types::ParameterType::SecureString)
        .overwrite(true)
        .send()
        .await
        .with_context(|| format!("cannot store the parameter {name}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_distinguishes_neighbours() {
        let of = |name: &str, value: &str| fingerprint("body", &BTreeMap::from([(name.to_owned(), value.to_owned())]));
        assert_ne!(of("ab", "c"), of("a", "bc"));
        assert_eq!(of("a", "b"), of("a", "b"));
    }

    #[test]
    fn uploads_are_named_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.zip");
        fs::write(&path, "one").unwrap();
        let one = Upload::read(&path).unwrap().key;
        fs::write(&path, "two").unwrap();
        let two = Upload::read(&path).unwrap().key;
        assert!(one.ends_with("/plan.zip") && one != two);
    }

    #[test]
    fn code_that_is_no_longer_deployed_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = scratch.path().join("ministack-provided-code-1");
        for name in ["aaaa1", "bbbb1"] {
            fs::create_dir_all(cache.join(name)).unwrap();
        }
        prune_unpacked(scratch.path(), &["aaaa/plan.zip"]);
        assert!(cache.join("aaaa1").exists() && !cache.join("bbbb1").exists());
    }

    #[test]
    fn webhooks_arrive_at_the_emulators_own_address() {
        let outputs = Outputs::from([("ApiId".to_owned(), "abc".to_owned())]);
        let url = public_url("http://127.0.0.1:9", &outputs).unwrap();
        assert_eq!(url, "http://127.0.0.1:9/_aws/execute-api/abc/$default");
        assert!(public_url("http://127.0.0.1:9", &Outputs::new()).is_err());
    }
}
