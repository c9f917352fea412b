//! The lifecycle of the stack's buckets. The emulator neither takes it from the template nor applies it, so a start does
//! both: it gives each bucket the template's rules, then carries them out as S3 does once a day.

pub(crate) mod rule;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{BucketLifecycleConfiguration, Delete, LifecycleRule, ObjectIdentifier};
use fresco_pipeline::time::Millis;

use super::STACK_NAME;
use super::cloudformation;
use super::error::Error;
use super::progress::Progress;
use super::template_parameters::{TemplateParameters, Values};
use crate::view::{plural, size};
use rule::{Rule, ends_at};

/// What was taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Removed {
    objects: usize,
    bytes: u64,
    uploads: usize,
}

impl Removed {
    fn line(&self) -> Option<String> {
        let mut said = Vec::new();
        if self.objects > 0 {
            said.push(format!("{} ({}) expired", plural(self.objects, "object"), size(self.bytes)));
        }
        if self.uploads > 0 {
            said.push(format!("{} aborted", plural(self.uploads, "unfinished upload")));
        }
        (!said.is_empty()).then(|| format!("lifecycle: {}", said.join(", ")))
    }
}

/// Gives the buckets of the stack the rules of its template, where they have others, and carries them out as of `now`.
pub(super) async fn apply(
    config: &SdkConfig,
    template: &TemplateParameters,
    values: &Values,
    now: Millis,
    progress: &Progress,
) -> Result<(), Error> {
    let s3 = Client::new(config);
    let mut removed = Removed::default();
    for (name, rules) in template.lifecycles() {
        let rules: Result<Vec<Rule>, String> = rules.iter().map(|rule| Rule::declared(rule, values)).collect();
        let rules = rules.map_err(|problem| Error::Lifecycle { bucket: name.to_owned(), problem })?;
        let bucket = Bucket { s3: &s3, name: cloudformation::physical_id(config, STACK_NAME, name).await? };
        bucket.take(&rules).await?;
        for rule in &rules {
            bucket.expire(rule, now, &mut removed).await?;
            bucket.abort(rule, now, &mut removed).await?;
        }
    }
    if let Some(line) = removed.line() {
        progress.step(line);
    }
    Ok(())
}

/// The rules that a bucket has.
pub(crate) async fn rules_of(s3: &Client, bucket: &str) -> Result<Vec<LifecycleRule>, Error> {
    match s3.get_bucket_lifecycle_configuration().bucket(bucket).send().await {
        Ok(found) => Ok(found.rules.unwrap_or_default()),
        Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok(Vec::new()),
        Err(error) => Err(Error::aws("reading the bucket's lifecycle")(error)),
    }
}

struct Bucket<'a> {
    s3: &'a Client,
    name: String,
}

impl Bucket<'_> {
    /// Puts the rules, unless they are there: an emulator that learns to take them from the template has them already.
    async fn take(&self, rules: &[Rule]) -> Result<(), Error> {
        let found = rules_of(self.s3, &self.name).await?;
        if found.len() == rules.len() && rules.iter().zip(&found).all(|(rule, found)| rule.is(found)) {
            return Ok(());
        }
        let putting = "putting the bucket's lifecycle";
        let rules: Result<Vec<_>, _> = rules.iter().map(Rule::to_s3).collect();
        let configuration =
            BucketLifecycleConfiguration::builder().set_rules(Some(rules.map_err(Error::aws(putting))?));
        let configuration = configuration.build().map_err(Error::aws(putting))?;
        let put = self.s3.put_bucket_lifecycle_configuration().bucket(&self.name);
        put.lifecycle_configuration(configuration).send().await.map_err(Error::aws(putting))?;
        Ok(())
    }

    /// Removes the objects that the rule has expired. A page of the list is what one call removes: 1,000.
    async fn expire(&self, rule: &Rule, now: Millis, removed: &mut Removed) -> Result<(), Error> {
        let Some(days) = rule.expire_after() else { return Ok(()) };
        let list = self.s3.list_objects_v2().bucket(&self.name).prefix(&rule.prefix);
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(Error::aws("listing the bucket"))?;
            let over = page.contents().iter().filter(|object| is_over(object.last_modified(), days, now));
            let mut expired = Vec::new();
            let mut bytes = 0;
            for object in over {
                bytes += object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
                let identified = ObjectIdentifier::builder().key(object.key().unwrap_or_default()).build();
                expired.push(identified.map_err(Error::aws("removing expired objects"))?);
            }
            if expired.is_empty() {
                continue;
            }
            removed.objects += expired.len();
            removed.bytes += bytes;
            self.delete(expired).await?;
        }
        Ok(())
    }

    async fn delete(&self, objects: Vec<ObjectIdentifier>) -> Result<(), Error> {
        let removing = "removing expired objects";
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build().map_err(Error::aws(removing))?;
        let answer = self.s3.delete_objects().bucket(&self.name).delete(delete).send().await;
        match answer.map_err(Error::aws(removing))?.errors().first() {
            None => Ok(()),
            Some(error) => Err(Error::Aws {
                action: removing.to_owned(),
                message: format!("{}: {}", error.key().unwrap_or("?"), error.message().unwrap_or("no reason given")),
            }),
        }
    }

    /// Aborts the unfinished uploads that the rule has ended.
    async fn abort(&self, rule: &Rule, now: Millis, removed: &mut Removed) -> Result<(), Error> {
        let Some(days) = rule.abort_after() else { return Ok(()) };
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let list = self.s3.list_multipart_uploads().bucket(&self.name).prefix(&rule.prefix);
            let page = list.set_key_marker(key_marker).set_upload_id_marker(id_marker).send().await;
            let page = page.map_err(Error::aws("listing unfinished uploads"))?;
            for upload in page.uploads().iter().filter(|upload| is_over(upload.initiated(), days, now)) {
                let abort = self.s3.abort_multipart_upload().bucket(&self.name);
                let aborted = abort.set_key(upload.key.clone()).set_upload_id(upload.upload_id.clone()).send().await;
                match aborted {
                    Ok(_) => removed.uploads += 1,
                    // Finished or aborted meanwhile.
                    Err(error) if error.code() == Some("NoSuchUpload") => {}
                    Err(error) => return Err(Error::aws("aborting an unfinished upload")(error)),
                }
            }
            if page.is_truncated() != Some(true) {
                return Ok(());
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }
}

/// Something of unknown age stays.
fn is_over(since: Option<&DateTime>, days: i32, now: Millis) -> bool {
    since.and_then(|since| since.to_millis().ok()).is_some_and(|since| now >= ends_at(since, days))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_went_and_nothing_where_nothing_did() {
        for (objects, bytes, uploads, line) in [
            (0, 0, 0, None),
            (12, 34_200_000, 0, Some("lifecycle: 12 objects (34 MB) expired")),
            (1, 0, 0, Some("lifecycle: 1 object (0 B) expired")),
            (0, 0, 1, Some("lifecycle: 1 unfinished upload aborted")),
            (2, 2_048, 3, Some("lifecycle: 2 objects (2.0 kB) expired, 3 unfinished uploads aborted")),
        ] {
            assert_eq!(Removed { objects, bytes, uploads }.line().as_deref(), line);
        }
    }

    #[test]
    fn it_is_over_from_the_midnight_on_and_not_a_millisecond_earlier() {
        let day = 86_400_000;
        let modified = DateTime::from_millis(day / 2);
        for (now, over) in [(2 * day - 1, false), (2 * day, true), (2 * day + 1, true), (day / 2, false)] {
            assert_eq!(is_over(Some(&modified), 1, now), over, "{now}");
        }
        assert!(!is_over(None, 1, i64::MAX), "its age is not known");
    }
}
