//! Updates of a name server (RFC 2136) over TCP, signed (RFC 8945).

use std::net::SocketAddr;
use std::str::FromStr as _;
use std::time::Duration;

use hickory_proto::op::update_message::{append, delete_by_rdata};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, RData, Record, RecordSet, RecordType, TSigner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Seconds that resolvers may keep the record.
const TTL: u32 = 60;
/// How far the clocks may be apart, in seconds.
const FUDGE: u16 = 300;

/// A name server and the key for it.
pub(super) struct Server<'a> {
    pub(super) address: SocketAddr,
    pub(super) key_name: &'a str,
    pub(super) key: &'a str,
    pub(super) algorithm: &'a str,
}

impl Server<'_> {
    /// Adds or removes the one record, and leaves others of its name alone.
    pub(super) async fn change(
        &self,
        add: bool,
        zone: Option<&str>,
        name: &str,
        text: &str,
    ) -> Result<(), String> {
        let name = absolute(name)?;
        let zone = match zone {
            Some(zone) => absolute(zone)?,
            None => self.zone_of(&name).await?,
        };
        if !zone.zone_of(&name) {
            return Err(format!("{name} does not lie in the zone {zone}"));
        }
        let record = Record::from_rdata(name, TTL, RData::TXT(TXT::new(vec![text.to_owned()])));
        let set = RecordSet::from(record);
        let message =
            if add { append(set, zone, false, false) } else { delete_by_rdata(set, zone, false) };
        let answer = self.ask(message, true).await?;
        match answer.metadata.response_code {
            ResponseCode::NoError => Ok(()),
            code => Err(format!("the name server {} refused: {code}", self.address)),
        }
    }

    /// The zone that `name` lies in, as the server has it.
    async fn zone_of(&self, name: &Name) -> Result<Name, String> {
        let mut question = Message::query();
        question.metadata.recursion_desired = false;
        question.add_query(Query::query(name.clone(), RecordType::SOA));
        let answer = self.ask(question, false).await?;
        let found = answer.answers.iter().chain(&answer.authorities);
        let mut soa = found.filter(|record| record.record_type() == RecordType::SOA);
        let zone = soa.next().map(|record| record.name.clone());
        zone.ok_or_else(|| {
            format!("the name server {} has no zone for {name}: set `zone`", self.address)
        })
    }

    async fn ask(&self, message: Message, signed: bool) -> Result<Message, String> {
        let asked = tokio::time::timeout(TIMEOUT, self.exchange(message, signed)).await;
        let asked = asked.unwrap_or_else(|_| Err("no answer in time".into()));
        asked.map_err(|why| format!("the name server {}: {why}", self.address))
    }

    async fn exchange(&self, mut message: Message, signed: bool) -> Result<Message, String> {
        let mut verifier = None;
        if signed {
            let signed = message.finalize(&self.signer()?, super::super::super::now());
            verifier = signed.map_err(|e| format!("can't sign: {e}"))?;
        }
        let bytes = message.to_vec().map_err(|e| e.to_string())?;
        let length = u16::try_from(bytes.len()).map_err(|_| "the message is too long")?;
        let broke = |e: std::io::Error| e.to_string();
        let mut stream = TcpStream::connect(self.address).await.map_err(broke)?;
        stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await.map_err(broke)?;
        let length = stream.read_u16().await.map_err(broke)?;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await.map_err(broke)?;
        let parsed =
            Message::from_vec(&answer).map_err(|e| format!("the answer can't be read: {e}"))?;
        if parsed.metadata.id != message.metadata.id {
            return Err("the answer belongs to another question".into());
        }
        // An error about the signature itself is not signed.
        if let Some(mut verifier) =
            verifier.filter(|_| parsed.metadata.response_code == ResponseCode::NoError)
        {
            verifier.verify(&answer).map_err(|e| format!("the answer is not signed well: {e}"))?;
        }
        Ok(parsed)
    }

    fn signer(&self) -> Result<TSigner, String> {
        let key = super::base64(self.key.as_bytes()).ok_or("the key is not base64")?;
        let algorithm = match self.algorithm {
            "hmac-sha384" => TsigAlgorithm::HmacSha384,
            "hmac-sha512" => TsigAlgorithm::HmacSha512,
            _ => TsigAlgorithm::HmacSha256,
        };
        TSigner::new(key, algorithm, absolute(self.key_name)?, FUDGE).map_err(|e| e.to_string())
    }
}

fn absolute(name: &str) -> Result<Name, String> {
    let mut name = Name::from_str(name).map_err(|e| format!("{name}: {e}"))?;
    name.set_fqdn(true);
    Ok(name)
}
