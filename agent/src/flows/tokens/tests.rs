//! Made, shown, rotated, revoked; by turned clocks, with a real store where it counts.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tenement_wire::InstanceName;

use super::*;

const FROM: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const OTHER: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

/// Clocks that only go when they are turned, by seconds.
#[derive(Clone, Default)]
struct Turned(Arc<AtomicU64>);

impl Turned {
    fn clocks(&self) -> Clocks {
        let (wall, steady) = (self.0.clone(), self.0.clone());
        Clocks {
            wall_ms: Box::new(move || 1_700_000_000_000 + wall.load(SeqCst) * 1000),
            steady: Box::new(move || Duration::from_secs(1000 + steady.load(SeqCst))),
        }
    }

    fn on(&self, seconds: u64) {
        self.0.fetch_add(seconds, SeqCst);
    }
}

fn wish(scope: Scope, reach: Reach) -> Wish {
    Wish { name: None, scope, reach, life: None }
}

fn admin() -> Wish {
    wish(Scope::Admin, Reach::Host)
}

async fn made(tokens: &Tokens, wish: Wish) -> (String, TokenView) {
    let (token, view) = tokens.create(wish, "uid 0".into(), None).await.unwrap();
    (token.text(), view)
}

fn tokens(turned: &Turned) -> Tokens {
    Tokens::in_memory(turned.clocks()).unwrap()
}

#[tokio::test]
async fn a_token_is_hashed_once_a_minute_and_remembered_between() {
    let turned = Turned::default();
    let tokens = tokens(&turned);
    let (text, view) = made(&tokens, admin()).await;
    assert_eq!(tokens.checks().hashes, 1);
    for _ in 0..100 {
        let verified = tokens.verify(&text, FROM).await.unwrap();
        assert_eq!((&verified.grant.id, verified.grant.scope), (&view.id, Scope::Admin));
    }
    let checks = tokens.checks();
    assert_eq!((checks.hashes, checks.hashed, checks.cached), (2, 1, 99));
    turned.on(61);
    tokens.verify(&text, FROM).await.unwrap();
    assert_eq!(tokens.checks().hashes, 3);
}

#[tokio::test]
async fn argon2_runs_for_no_unknown_id_and_for_no_wrong_secret() {
    let turned = Turned::default();
    let tokens = tokens(&turned);
    let (text, view) = made(&tokens, admin()).await;
    let before = tokens.checks().hashes;
    let unknown = format!("ten_{}_{}", "a".repeat(12), "0".repeat(64));
    let wrong = format!("ten_{}_{}", view.id, "0".repeat(64));
    for n in 0..50 {
        let from = std::net::IpAddr::V4(n.into());
        for bad in [unknown.as_str(), &wrong, "", "ten_", &text.to_uppercase(), &format!("{text}0")]
        {
            assert!(matches!(tokens.verify(bad, from).await, Err(Refused::Wrong)), "{bad}");
        }
    }
    assert_eq!(tokens.checks().hashes, before);
    assert_eq!(tokens.checks().refused, 300);
}

#[tokio::test]
async fn many_who_show_a_cold_token_at_once_share_one_hash() {
    let tokens = Arc::new(tokens(&Turned::default()));
    let (text, _) = made(&tokens, admin()).await;
    let all = (0..50).map(|_| {
        let (tokens, text) = (tokens.clone(), text.clone());
        tokio::spawn(async move { tokens.verify(&text, FROM).await.map(|_| ()) })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
    assert_eq!(tokens.checks().hashes, 2);
}

#[tokio::test]
async fn an_address_that_fails_too_often_is_locked_out_and_locks_out_nobody_else() {
    let turned = Turned::default();
    let tokens = tokens(&turned);
    let (text, view) = made(&tokens, admin()).await;
    let wrong = format!("ten_{}_{}", view.id, "0".repeat(64));
    for _ in 0..5 {
        assert!(matches!(tokens.verify(&wrong, FROM).await, Err(Refused::Wrong)));
    }
    let locked = tokens.verify(&wrong, FROM).await;
    assert!(matches!(locked, Err(Refused::Locked { retry_after }) if retry_after.as_secs() == 1));
    assert_eq!((tokens.checks().locked, tokens.checks().locked_addresses), (1, 1));
    // The right token is let in from everywhere: from another address, and from this one.
    tokens.verify(&text, OTHER).await.unwrap();
    tokens.verify(&text, FROM).await.unwrap();
    turned.on(61);
    tokens.verify(&text, FROM).await.unwrap();
    assert!(matches!(tokens.verify(&wrong, OTHER).await, Err(Refused::Wrong)));
}

#[tokio::test]
async fn ten_thousand_wrong_tokens_cost_no_hash_and_bounded_memory() {
    let tokens = tokens(&Turned::default());
    let (text, view) = made(&tokens, admin()).await;
    let before = tokens.checks().hashes;
    for n in 0..10_000_u32 {
        let wrong = format!("ten_{}_{n:064x}", view.id);
        let from = std::net::IpAddr::V4((n % 50 + 1).into());
        assert!(tokens.verify(&wrong, from).await.is_err());
    }
    let checks = tokens.checks();
    assert_eq!((checks.hashes, checks.locked_addresses), (before, 50));
    assert_eq!((checks.refused, checks.locked), (250, 9750));
    tokens.verify(&text, FROM).await.unwrap();
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_what_it_has_open_ends() {
    let tokens = tokens(&Turned::default());
    let (text, view) = made(&tokens, admin()).await;
    let verified = tokens.verify(&text, FROM).await.unwrap();
    let over = tokio::spawn(verified.lapse.over());
    tokens.revoke(&view.id, None).await.unwrap();
    assert!(matches!(tokens.verify(&text, FROM).await, Err(Refused::Wrong)));
    assert!(tokens.grant(&view.id).is_none());
    tokio::time::timeout(Duration::from_secs(10), over).await.unwrap().unwrap();
    assert!(matches!(tokens.revoke(&view.id, None).await, Err(TokenError::Unknown(_))));
}

#[tokio::test]
async fn a_rotated_token_has_another_secret_and_the_old_one_ends() {
    let tokens = tokens(&Turned::default());
    let (old, view) = made(&tokens, admin()).await;
    let verified = tokens.verify(&old, FROM).await.unwrap();
    let (new, same) = tokens.rotate(&view.id, None).await.unwrap();
    assert_eq!((&same.id, &same.name, same.scope), (&view.id, &view.name, view.scope));
    assert!(matches!(tokens.verify(&old, FROM).await, Err(Refused::Wrong)));
    tokens.verify(&new.text(), FROM).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), verified.lapse.over()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_when_its_time_is_over_even_while_it_is_remembered() {
    let turned = Turned::default();
    let tokens = tokens(&turned);
    let life = Some(Duration::from_secs(30));
    let (text, view) = made(&tokens, Wish { life, ..admin() }).await;
    assert_eq!(view.expires_ms, Some(1_700_000_030_000));
    let verified = tokens.verify(&text, FROM).await.unwrap();
    turned.on(29);
    tokens.verify(&text, FROM).await.unwrap();
    turned.on(1);
    assert!(matches!(tokens.verify(&text, FROM).await, Err(Refused::Expired)));
    assert!(tokens.grant(&view.id).is_none());
    verified.lapse.over().await;
}

#[tokio::test]
async fn a_token_makes_and_sees_no_token_that_may_more_than_itself() {
    let tokens = tokens(&Turned::default());
    let process = Reach::Process("api".parse().unwrap());
    let instance = |name: &str| Reach::Instance(name.parse::<InstanceName>().unwrap());
    let (_, of_process) = made(&tokens, wish(Scope::Admin, process.clone())).await;
    let (_, of_host) = made(&tokens, admin()).await;
    let own = tokens.grant(&of_process.id).unwrap().grant;
    for (scope, reach, may) in [
        (Scope::Admin, process.clone(), true),
        (Scope::Read, instance("api:prod"), true),
        (Scope::Read, Reach::Host, false),
        (Scope::Read, instance("web:prod"), false),
    ] {
        let made = tokens.create(wish(scope, reach.clone()), "t".into(), Some(&own)).await;
        assert_eq!(made.is_ok(), may, "{scope} {reach:?}");
    }
    let operator = Grant { scope: Scope::Operator, ..(*own).clone() };
    let more = tokens.create(wish(Scope::Admin, process), "t".into(), Some(&operator)).await;
    assert!(matches!(more, Err(TokenError::Beyond)));
    assert_eq!((tokens.list(None).len(), tokens.list(Some(&own)).len()), (4, 3));
    assert!(matches!(tokens.revoke(&of_host.id, Some(&own)).await, Err(TokenError::Unknown(_))));
    assert!(matches!(tokens.rotate(&of_host.id, Some(&own)).await, Err(TokenError::Unknown(_))));
    assert!(tokens.grant(&of_host.id).is_some());
}

#[tokio::test]
async fn tokens_outlive_the_agent_and_nothing_in_its_files_lets_anybody_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let turned = Turned::default();
    let store = Store::open(&path).await.unwrap();
    let tokens = Tokens::load(store.clone(), turned.clocks()).await.unwrap();
    let (text, view) = made(&tokens, admin()).await;
    let (gone, gone_view) = made(&tokens, admin()).await;
    tokens.revoke(&gone_view.id, None).await.unwrap();
    tokens.verify(&text, FROM).await.unwrap();
    // The note of the use is in line before the end of the store.
    tokio::task::yield_now().await;
    store.close().await;
    let secret = text.rsplit('_').next().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let hidden = String::from_utf8_lossy(&bytes).to_lowercase();
        assert!(!hidden.contains(secret), "the secret is on the disk");
    }

    let store = Store::open(&path).await.unwrap();
    let tokens = Tokens::load(store, turned.clocks()).await.unwrap();
    tokens.verify(&text, FROM).await.unwrap();
    assert!(tokens.verify(&gone, FROM).await.is_err());
    let listed = tokens.list(None);
    assert_eq!((listed.len(), &listed[0].id), (1, &view.id));
    assert_eq!(listed[0].last_used_ms, Some(1_700_000_000_000));
}
