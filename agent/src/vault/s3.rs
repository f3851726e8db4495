//! Backups in a bucket (Amazon S3 API reference): listed, read, deleted, and uploaded in parts.
//!
//! An upload holds one part in memory. What is smaller than a part is one request.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tenement_wire::InstanceName;
use tenement_wire::backups::StoredBackup;

use super::names::folder;
use super::{Pieces, VaultError, http as wire, time_of};
use crate::config::S3Settings;
use crate::sigv4::xml::{escaped, tag, unescaped};
use crate::sigv4::{Call, Keys, encoded, query, sha256};

/// Bytes of a part, but for the last; the least that S3 takes is 5 MiB.
const PART: usize = 8 << 20;
/// From this part on they are larger, so that 10,000 parts, which is the most, are 150 GB.
const LARGER_FROM: usize = 1_000;
const LARGER_PART: usize = 16 << 20;
const PARTS_MAX: usize = 10_000;
/// Tries of one request, and the first pause between two.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);
/// Longest silence while a backup is read.
const SILENCE: Duration = Duration::from_secs(60);
/// Pages of a list at most, of 1,000 keys each.
const PAGES_MAX: usize = 100;

/// A bucket with what stands before all keys.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// `https://host:port`, with the bucket in front of the host unless the paths have it.
    base: String,
    /// What begins each path: `/bucket`, or nothing.
    root: String,
    prefix: String,
    region: String,
    keys: Keys,
}

impl Bucket {
    pub(super) async fn open(
        settings: &S3Settings,
        bucket: &str,
        prefix: &str,
    ) -> Result<Self, VaultError> {
        let file = &settings.access_key_file;
        let failed =
            |why: &dyn std::fmt::Display| VaultError::Failed(format!("{}: {why}", file.display()));
        let text = tokio::fs::read_to_string(file).await.map_err(|error| failed(&error))?;
        let keys = Keys::read(&text).map_err(|why| failed(&why))?;
        let (base, root) = if settings.path_style {
            (settings.endpoint.clone(), format!("/{bucket}"))
        } else {
            (settings.endpoint.replacen("://", &format!("://{bucket}."), 1), String::new())
        };
        let (prefix, region) = (prefix.to_owned(), settings.region.clone());
        Ok(Self { base, root, prefix, region, keys })
    }

    fn folder(&self, name: &InstanceName) -> String {
        let between = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}{between}{}/", self.prefix, folder(name))
    }

    fn request(
        &self,
        method: &Method,
        key: &str,
        parameters: &[(&str, &str)],
        body: &Bytes,
    ) -> Result<Request<Full<Bytes>>, String> {
        let path = format!("{}/{}", self.root, encoded(key, true));
        let query = query(parameters);
        let at = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let host = self.base.split_once("://").map_or("", |(_, host)| host);
        let payload = sha256(body);
        let headers =
            [("host", host), ("x-amz-content-sha256", payload.as_str()), ("x-amz-date", &at)];
        let call = Call {
            method: method.as_str(),
            path: &path,
            query: &query,
            headers: &headers,
            payload: &payload,
            at: &at,
            region: &self.region,
            service: "s3",
        };
        let mark = if query.is_empty() { "" } else { "?" };
        Request::builder()
            .method(method.clone())
            .uri(format!("{}{path}{mark}{query}", self.base))
            .header("x-amz-content-sha256", &payload)
            .header("x-amz-date", &at)
            .header("authorization", call.authorization(&self.keys))
            .body(Full::new(body.clone()))
            .map_err(|error| error.to_string())
    }

    /// Sends a request until it is answered with success or with what another try does not change.
    async fn ask(
        &self,
        method: Method,
        key: &str,
        parameters: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Bytes>, VaultError> {
        let mut pause = PAUSE;
        for turn in 1.. {
            let sent = match self.request(&method, key, parameters, &body) {
                Ok(request) => wire::whole(request).await,
                Err(why) => return Err(VaultError::Failed(why)),
            };
            let (why, again) = match sent {
                // Some errors come with 200, when the answer was begun before the work was done.
                Ok(answer) if answer.status().is_success() && !is_error(answer.body()) => {
                    return Ok(answer);
                }
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => {
                    return Err(refusal(key, &answer));
                }
                Ok(answer) => {
                    let status = answer.status();
                    let again = status.is_success() || status.is_server_error() || status == 429;
                    (refusal(key, &answer), again)
                }
                Err(why) => (VaultError::Failed(why), true),
            };
            if !again || turn >= TRIES {
                return Err(why);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the loop returns")
    }

    pub(super) async fn list(&self, name: &InstanceName) -> Result<Vec<StoredBackup>, VaultError> {
        let folder = self.folder(name);
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut parameters = vec![("list-type", "2"), ("prefix", folder.as_str())];
            parameters.extend(next.as_deref().map(|token| ("continuation-token", token)));
            let answer = self.ask(Method::GET, "", &parameters, Bytes::new()).await?;
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            for entry in tag(&text, "Contents") {
                let key = unescaped(tag(entry, "Key").next().unwrap_or_default());
                let file = key.strip_prefix(&folder).unwrap_or_default().to_owned();
                let Some(time_ms) = time_of(name, &file) else { continue };
                let bytes = tag(entry, "Size").next().and_then(|n| n.parse().ok()).unwrap_or(0);
                found.push(StoredBackup { file, time_ms, bytes });
            }
            let token = tag(&text, "NextContinuationToken").next().map(unescaped);
            if tag(&text, "IsTruncated").next() != Some("true") || token.is_none() {
                return Ok(found);
            }
            next = token;
        }
        Err(VaultError::Failed(format!("there are too many keys below {folder}")))
    }

    pub(super) async fn read(&self, name: &InstanceName, file: &str) -> Result<Pieces, VaultError> {
        let key = format!("{}{file}", self.folder(name));
        let failed = VaultError::Failed;
        let request = self.request(&Method::GET, &key, &[], &Bytes::new()).map_err(failed)?;
        let (answer, ends) = wire::begin(request).await.map_err(failed)?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(VaultError::Missing(file.to_owned()));
        }
        if !answer.status().is_success() {
            let (parts, _) = answer.into_parts();
            return Err(refusal(&key, &Response::from_parts(parts, Bytes::new())));
        }
        // The body's end is known by its length, so one that breaks off is an error and no end.
        let pieces =
            stream::try_unfold((answer.into_body(), ends), move |(mut body, ends)| async move {
                loop {
                    let frame = tokio::time::timeout(SILENCE, body.frame()).await;
                    let frame = frame.map_err(|_| failed("the endpoint fell silent".into()))?;
                    match frame.transpose().map_err(|e| failed(format!("it broke off: {e}")))? {
                        None => return Ok(None),
                        Some(frame) => {
                            if let Ok(bytes) = frame.into_data() {
                                return Ok(Some((bytes, (body, ends))));
                            }
                        }
                    }
                }
            });
        Ok(Box::pin(pieces))
    }

    pub(super) async fn delete(&self, name: &InstanceName, file: &str) -> Result<(), VaultError> {
        let key = format!("{}{file}", self.folder(name));
        match self.ask(Method::DELETE, &key, &[], Bytes::new()).await {
            Err(VaultError::Missing(_)) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn create(&self, name: &InstanceName, file: &str) -> Upload {
        let key = format!("{}{file}", self.folder(name));
        Upload { bucket: self.clone(), key, id: None, tags: Vec::new(), part: BytesMut::new() }
    }
}

/// A backup that is being uploaded.
pub struct Upload {
    bucket: Bucket,
    key: String,
    /// Of the upload in parts, once there is a second part.
    id: Option<String>,
    /// What the endpoint calls each part.
    tags: Vec<String>,
    part: BytesMut,
}

impl Upload {
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), VaultError> {
        self.part.extend_from_slice(&bytes);
        let size = if self.tags.len() < LARGER_FROM { PART } else { LARGER_PART };
        while self.part.len() > size {
            let part = self.part.split_to(size).freeze();
            self.send(part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> Result<(), VaultError> {
        if self.tags.len() >= PARTS_MAX {
            return Err(VaultError::Failed("it is too large for an upload to S3".into()));
        }
        let id = match &self.id {
            Some(id) => id.clone(),
            None => self.begin().await?,
        };
        let number = (self.tags.len() + 1).to_string();
        let parameters = [("partNumber", number.as_str()), ("uploadId", &id)];
        let answer = self.bucket.ask(Method::PUT, &self.key, &parameters, part).await?;
        let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok());
        let tag =
            tag.ok_or_else(|| VaultError::Failed("the endpoint gave a part no ETag".into()))?;
        self.tags.push(tag.to_owned());
        Ok(())
    }

    async fn begin(&mut self) -> Result<String, VaultError> {
        let answer =
            self.bucket.ask(Method::POST, &self.key, &[("uploads", "")], Bytes::new()).await?;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        let id = tag(&text, "UploadId").next().map(unescaped);
        let id = id.ok_or_else(|| VaultError::Failed("the endpoint began no upload".into()))?;
        self.id = Some(id.clone());
        Ok(id)
    }

    pub(super) async fn finish(mut self) -> Result<(), VaultError> {
        let done = self.complete().await;
        if done.is_err() {
            self.abort().await;
        }
        done
    }

    async fn complete(&mut self) -> Result<(), VaultError> {
        let rest = std::mem::take(&mut self.part).freeze();
        let Some(id) = self.id.clone() else {
            return self.bucket.ask(Method::PUT, &self.key, &[], rest).await.map(drop);
        };
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        let parts: String = self
            .tags
            .iter()
            .enumerate()
            .map(|(at, tag)| {
                let (number, tag) = (at + 1, escaped(tag));
                format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
            })
            .collect();
        let body = format!(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}\
             </CompleteMultipartUpload>"
        );
        let parameters = [("uploadId", id.as_str())];
        self.bucket.ask(Method::POST, &self.key, &parameters, body.into()).await.map(drop)
    }

    pub(super) async fn abort(self) {
        let Some(id) = &self.id else { return };
        // Parts that stay cost money, and nobody sees them.
        let which = [("uploadId", id.as_str())];
        let aborted = self.bucket.ask(Method::DELETE, &self.key, &which, Bytes::new());
        if let Err(error) = aborted.await {
            log::warn!("the unfinished upload of {} could not be removed: {error}", self.key);
        }
    }
}

fn is_error(body: &Bytes) -> bool {
    let begin = &body[..body.len().min(256)];
    String::from_utf8_lossy(begin).contains("<Error>")
}

/// What the endpoint says against a request.
fn refusal(key: &str, answer: &Response<Bytes>) -> VaultError {
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let code = tag(&text, "Code").next().unwrap_or_default();
    if answer.status() == StatusCode::NOT_FOUND && code != "NoSuchBucket" {
        return VaultError::Missing(key.to_owned());
    }
    let why = tag(&text, "Message").next().unwrap_or_default();
    let words: String = format!("{code} {why}").chars().filter(|c| !c.is_control()).collect();
    let words: String = words.chars().take(300).collect();
    let status = answer.status();
    VaultError::Failed(format!("the endpoint answered {status}: {}", words.trim()))
}
