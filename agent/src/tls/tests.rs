//! Orders for custom domains, with a CA that nobody answers for.

use std::sync::Mutex;

use super::kept::Kept;
use super::*;
use crate::config::{AcmeSettings, TlsSettings};

type Named = Arc<Mutex<Option<String>>>;

fn wanted(directory: &str) -> Wanted {
    let acme = AcmeSettings {
        email: None,
        directory: directory.into(),
        ca_file: None,
        profile: None,
        tls_alpn: true,
        http: true,
        eab: None,
        orders_per_hour: 8,
        retry: Duration::from_secs(300),
        dns: None,
    };
    let settings = TlsSettings { acme: Some(acme), ..TlsSettings::default() };
    // No CA signs that name, so nothing is ordered but custom domains.
    Wanted { settings, domain: "localhost".into(), ..Wanted::default() }
}

const NOBODY: &str = "https://127.0.0.1:1/dir";

/// One whose verified custom domain is what `allowed` says.
fn tls(dir: &Path, allowed: &Named) -> Arc<Tls> {
    let allowed = allowed.clone();
    let hooks = Hooks {
        allowed: Box::new(move |_| allowed.lock().unwrap().clone()),
        tell: Box::new(|_| {}),
    };
    Tls::open(dir, "host", wanted(NOBODY), hooks).unwrap()
}

fn allowed(domain: &str) -> Named {
    Arc::new(Mutex::new(Some(domain.to_owned())))
}

fn certificate(name: &str, days: i64) -> Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let day = Duration::from_secs(86_400);
    let now = SystemTime::now();
    params.not_before = (now - day * 90).into();
    let life = day * u32::try_from(days.unsigned_abs()).unwrap();
    params.not_after = if days < 0 { now - life } else { now + life }.into();
    let made = params.self_signed(&key).unwrap();
    Certificate::from_pem(made.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

fn failures(tls: &Tls, name: &str) -> Option<u32> {
    tls.orders().kept.get(name).map(|kept| kept.failures)
}

fn asked(host: &str) -> Asked {
    Asked { host: Some(host.into()), by_ca: false }
}

#[tokio::test]
async fn names_below_one_wildcard_that_never_had_a_certificate_use_up_no_more_than_their_share() {
    let dir = tempfile::tempdir().unwrap();
    let allowed = allowed("*.evil.com");
    let tls = tls(dir.path(), &allowed);
    for i in 0..20 {
        assert!(!tls.bring(&format!("a{i}.evil.com")).await);
    }
    let known = || tls.orders().kept.len();
    assert_eq!(known(), 2, "a quarter of 8 orders an hour");
    // The pause is over, and nobody asks: no order of its own accord.
    tls.orders().kept.values_mut().for_each(|kept| kept.due = now());
    tls.order_due().await;
    assert!(tls.orders().kept.values().all(|kept| kept.flight.is_none() && kept.failures == 1));
    // A day later nothing is known of them.
    tls.orders().kept.values_mut().for_each(|kept| kept.due = now() - 86_400);
    tls.order_due().await;
    assert_eq!(known(), 0);
    *allowed.lock().unwrap() = Some("good.com".into());
    tls.bring("good.com").await;
    assert_eq!(failures(&tls, "good.com"), Some(1), "another domain has orders left");
}

#[tokio::test]
async fn a_restart_fills_no_hour_and_ends_no_pause() {
    let dir = tempfile::tempdir().unwrap();
    let allowed = allowed("*.evil.com");
    {
        let tls = tls(dir.path(), &allowed);
        for name in ["a.evil.com", "b.evil.com"] {
            tls.bring(name).await;
        }
        tls.order_due().await;
    }
    let tls = tls(dir.path(), &allowed);
    for name in ["a.evil.com", "c.evil.com"] {
        tls.bring(name).await;
    }
    assert_eq!((failures(&tls, "a.evil.com"), failures(&tls, "c.evil.com")), (Some(1), None));
    tls.order_soon("a.evil.com");
    tls.order_due().await;
    assert_eq!(failures(&tls, "a.evil.com"), Some(0), "the operator's wish takes an order too");
    assert!(tls.orders().kept["a.evil.com"].flight.is_none(), "of which none is left");
}

#[tokio::test]
async fn a_removed_domain_is_not_served_from_memory() {
    let dir = tempfile::tempdir().unwrap();
    let allowed = allowed("shop.customer.com");
    let tls = tls(dir.path(), &allowed);
    let made = Arc::new(certificate("shop.customer.com", 30));
    tls.certificates.hold("shop.customer.com", made);
    assert!(tls.choose(asked("shop.customer.com")).await.is_ok());
    *allowed.lock().unwrap() = None;
    assert!(tls.choose(asked("shop.customer.com")).await.is_err());
    assert!(tls.certificates.find("shop.customer.com").is_none(), "nor kept in memory");
}

#[tokio::test]
async fn certificates_of_a_test_ca_are_not_served_after_the_change_to_another() {
    let dir = tempfile::tempdir().unwrap();
    let tls = tls(dir.path(), &allowed("shop.customer.com"));
    let made = Arc::new(certificate("shop.customer.com", 30));
    tls.certificates.hold("shop.customer.com", made);
    tls.set(wanted("https://127.0.0.1:2/dir"));
    assert!(tls.certificates.find("shop.customer.com").is_none());
}

#[tokio::test]
async fn an_own_file_that_has_ended_stands_before_no_good_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let tls = tls(dir.path(), &allowed("x"));
    let ended = Arc::new(certificate("a.example.com", -1));
    let mut own = OwnFile::new(crate::config::CertificateFiles {
        certificate: dir.path().join("none"),
        key: dir.path().join("none"),
    });
    own.certificate = Some(ended.clone());
    tls.sources().own.push(own);
    tls.serve();
    let shown = tls.certificates.find("a.example.com").unwrap();
    assert!(Arc::ptr_eq(&shown, &ended), "better than none");
    let good = Arc::new(certificate("*.example.com", 30));
    let kept = Kept { managed: true, certificate: Some(good.clone()), ..Kept::default() };
    tls.orders().kept.insert("*.example.com".into(), kept);
    tls.serve();
    let shown = tls.certificates.find("a.example.com").unwrap();
    assert!(Arc::ptr_eq(&shown, &good));
}

#[tokio::test]
async fn a_wildcard_shows_the_first_certificate_to_expire_below_it_and_own_files_count() {
    let dir = tempfile::tempdir().unwrap();
    let tls = tls(dir.path(), &allowed("*.customer.com"));
    for (name, days) in [("a.customer.com", 30), ("b.customer.com", 10)] {
        let facts = Some(certificate(name, days).facts);
        tls.orders().kept.insert(name.into(), Kept { facts, due: u64::MAX, ..Kept::default() });
    }
    let failed = Kept { error: Some("no".into()), ..Kept::default() };
    tls.orders().kept.insert("c.customer.com".into(), failed);
    let of = |name: &str| tls.standings(&[name]).remove(0).unwrap();
    let days = |standing: &Standing| (standing.not_after.unwrap() - now()).div_ceil(86_400);
    let wild = of("*.customer.com");
    assert_eq!((days(&wild), wild.error), (10, None), "what never was counts for nothing");
    assert!(!of("*.other.com").ordered);
    let mut own = OwnFile::new(crate::config::CertificateFiles {
        certificate: dir.path().join("none"),
        key: dir.path().join("none"),
    });
    own.certificate = Some(Arc::new(certificate("*.files.com", 60)));
    tls.sources().own.push(own);
    tls.serve();
    assert_eq!((days(&of("*.files.com")), days(&of("shop.files.com"))), (60, 60));
}
