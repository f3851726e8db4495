//! Sessions and second factors with a clock that the tests turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tenement_wire::Scope;

use super::*;
use crate::flows::tokens::Wish;
use crate::token::{KEY_LEN, Reach, Token, totp};

struct World {
    tokens: Arc<Tokens>,
    sessions: Sessions,
    now_ms: Arc<AtomicU64>,
}

fn clocks(now_ms: &Arc<AtomicU64>) -> Clocks {
    let now = now_ms.clone();
    Clocks { wall_ms: Box::new(move || now.load(SeqCst)), ..Clocks::default() }
}

impl World {
    fn new() -> Self {
        let now_ms = Arc::new(AtomicU64::new(1_800_000_000_000));
        let tokens = Arc::new(Tokens::in_memory(clocks(&now_ms)).unwrap());
        let seal = Seal::new([7; KEY_LEN]);
        let sessions = Sessions::in_memory(seal, clocks(&now_ms));
        Self { tokens, sessions, now_ms }
    }

    fn later(&self, time: Duration) {
        self.now_ms.fetch_add(time.as_millis() as u64, SeqCst);
    }

    async fn token(&self, life: Option<Duration>) -> Token {
        let wish = Wish { name: None, scope: Scope::Admin, reach: Reach::Host, life };
        self.tokens.create(wish, "uid 0".into(), None).await.unwrap().0
    }

    async fn login(&self, token: &Token) -> String {
        let verified = self.tokens.grant(&token.id).unwrap();
        self.sessions.login(verified, None).await.unwrap().0
    }

    /// The code of the app whose secret is in `uri`, right now.
    fn code(&self, secret: &[u8]) -> String {
        totp::code(secret, self.now_ms.load(SeqCst) / 1000)
    }
}

#[tokio::test]
async fn a_session_stands_for_its_token_until_it_ends_either_way() {
    let world = World::new();
    let token = world.token(None).await;
    let cookie = world.login(&token).await;
    assert_eq!(cookie.len(), 64);
    let live = world.sessions.find(&cookie).unwrap();
    assert_eq!(live.verified.grant.id, token.id);
    assert!(world.sessions.csrf_matches(&live.hash, &live.view.csrf));
    assert!(!world.sessions.csrf_matches(&live.hash, ""));
    assert!(world.sessions.find(&cookie.to_uppercase()).is_none());
    assert!(world.sessions.find("").is_none());

    // Used again and again it lasts a day, and no longer.
    for _ in 0..23 {
        world.later(Duration::from_secs(3600));
        assert!(world.sessions.find(&cookie).is_some());
    }
    world.later(Duration::from_secs(3600));
    assert!(world.sessions.find(&cookie).is_none());

    let cookie = world.login(&token).await;
    world.later(IDLE);
    assert!(world.sessions.find(&cookie).is_none(), "it was idle");

    let cookies = [world.login(&token).await, world.login(&token).await];
    let live = world.sessions.find(&cookies[0]).unwrap();
    assert_eq!(world.sessions.logout(&live.hash).await.unwrap(), 1);
    assert!(world.sessions.find(&cookies[0]).is_none());
    assert!(live.verified.lapse.is_over(), "what it has open ends too");
    assert_eq!(world.sessions.logout_everywhere(Some(&token.id)).await.unwrap(), 1);
    assert!(world.sessions.find(&cookies[1]).is_none());
}

#[tokio::test]
async fn an_idle_session_ends_what_it_has_open_without_being_asked_for_again() {
    let world = World::new();
    let token = world.token(None).await;
    let (idle, used) = (world.login(&token).await, world.login(&token).await);
    let live = world.sessions.find(&idle).unwrap();
    world.later(IDLE - Duration::from_secs(60));
    assert!(world.sessions.find(&used).is_some());
    assert_eq!(world.sessions.end_idle().await.unwrap(), 0);
    world.later(Duration::from_secs(60));
    assert!(!live.verified.lapse.is_over(), "nobody has looked yet");
    assert_eq!(world.sessions.end_idle().await.unwrap(), 1);
    assert!(live.verified.lapse.is_over());
    assert!(world.sessions.find(&used).is_some(), "that one was used");
}

#[tokio::test]
async fn a_session_dies_with_its_token_and_when_that_gets_another_secret() {
    let world = World::new();
    let (a, b) = (world.token(None).await, world.token(None).await);
    let c = world.token(Some(Duration::from_secs(600))).await;
    let cookies = [world.login(&a).await, world.login(&b).await, world.login(&c).await];
    world.tokens.revoke(&a.id, None).await.unwrap();
    assert!(world.sessions.find(&cookies[0]).is_none(), "revoked");
    world.tokens.rotate(&b.id, None).await.unwrap();
    assert!(world.sessions.find(&cookies[1]).is_none(), "rotated");
    assert!(world.sessions.find(&cookies[2]).is_some());
    world.later(Duration::from_secs(600));
    assert!(world.sessions.find(&cookies[2]).is_none(), "expired");
}

#[tokio::test]
async fn a_token_has_so_many_sessions_and_the_idle_one_makes_room() {
    let world = World::new();
    let token = world.token(None).await;
    let mut cookies = Vec::new();
    for _ in 0..PER_TOKEN {
        cookies.push(world.login(&token).await);
        world.later(Duration::from_secs(1));
    }
    assert!(world.sessions.find(&cookies[0]).is_some());
    cookies.push(world.login(&token).await);
    assert!(world.sessions.find(&cookies[1]).is_none(), "the one that was idle longest");
    assert!(world.sessions.find(&cookies[0]).is_some());
    assert_eq!(lock(&world.sessions.held).len(), PER_TOKEN);
}

#[tokio::test]
async fn a_login_needs_the_code_once_it_is_confirmed_and_takes_each_but_once() {
    let world = World::new();
    let token = world.token(None).await;
    let sessions = &world.sessions;
    let secret_of = |sessions: &Sessions| {
        let sealed = lock(&sessions.factors)[&token.id].stored.sealed.clone();
        sessions.seal.open(token.id.as_str(), &sealed).unwrap()
    };
    let login = async |code: Option<&str>| {
        sessions.login(world.tokens.grant(&token.id).unwrap(), code).await.map(drop)
    };
    assert!(matches!(sessions.confirm_factor(&token.id, "1").await, Err(FactorError::NotBegun)));
    let new = sessions.begin_factor(&token.id).await.unwrap();
    let secret = secret_of(sessions);
    assert_eq!(new.secret, totp::base32(&secret));
    assert!(login(None).await.is_ok(), "nothing is confirmed yet");
    let code = world.code(&secret);
    let recovery = sessions.confirm_factor(&token.id, &code).await.unwrap();
    assert!(matches!(sessions.begin_factor(&token.id).await, Err(FactorError::Enabled)));
    assert!(matches!(login(None).await, Err(FactorError::Needed)));
    assert!(matches!(login(Some(&code)).await, Err(FactorError::Wrong)), "used to confirm");
    world.later(Duration::from_secs(60));
    let code = world.code(&secret);
    assert!(login(Some(&code)).await.is_ok());
    assert!(matches!(login(Some(&code)).await, Err(FactorError::Wrong)));

    assert_eq!(recovery.len(), 10);
    assert!(login(Some(&recovery[3].to_uppercase())).await.is_ok());
    assert!(matches!(login(Some(&recovery[3])).await, Err(FactorError::Wrong)));
    assert_eq!(sessions.factor(&token.id).recovery_codes, 9);
    assert!(sessions.remove_factor(&token.id).await.unwrap());
    assert!(login(None).await.is_ok());
}

#[tokio::test]
async fn wrong_codes_close_the_door_for_longer_and_longer() {
    let world = World::new();
    let token = world.token(None).await;
    let sessions = &world.sessions;
    sessions.begin_factor(&token.id).await.unwrap();
    let wait = async || loop {
        match sessions.confirm_factor(&token.id, "nonsense").await {
            Err(FactorError::Wrong) => {}
            Err(FactorError::Locked { retry_after }) => return retry_after,
            other => panic!("{other:?}"),
        }
    };
    for expected in [30, 60, 120, 240, 480, 900, 900] {
        let waits = wait().await;
        assert_eq!(waits, Duration::from_secs(expected));
        world.later(waits);
    }
}

#[tokio::test]
async fn sessions_and_factors_outlive_the_agent_and_the_database_shows_none_of_their_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let seal = Seal::new([7; KEY_LEN]);
    let store = Store::open(&path).await.unwrap();
    let tokens = Arc::new(Tokens::load(store.clone(), Clocks::default()).await.unwrap());
    let sessions = Sessions::load(&tokens, store.clone(), seal.clone()).await.unwrap();
    let wish = |scope| Wish { name: None, scope, reach: Reach::Host, life: None };
    let make = async |scope| tokens.create(wish(scope), "uid 0".into(), None).await.unwrap().0;
    let (kept, rotated) = (make(Scope::Admin).await, make(Scope::Read).await);
    let login = async |token: &Token| {
        sessions.login(tokens.grant(&token.id).unwrap(), None).await.unwrap().0
    };
    let cookies = [login(&kept).await, login(&rotated).await];
    let new = sessions.begin_factor(&kept.id).await.unwrap();
    tokens.rotate(&rotated.id, None).await.unwrap();
    store.close().await;
    let bytes = std::fs::read(&path).unwrap();
    for secret in [&cookies[0], &new.secret] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }

    let store = Store::open(&path).await.unwrap();
    let (stored, _) = store.sessions().await.unwrap();
    assert_eq!(stored.len(), 1, "the trigger took the rotated token's session");
    let tokens = Arc::new(Tokens::load(store.clone(), Clocks::default()).await.unwrap());
    let sessions = Sessions::load(&tokens, store.clone(), seal).await.unwrap();
    assert!(sessions.find(&cookies[0]).is_some() && sessions.find(&cookies[1]).is_none());
    assert!(sessions.factor(&kept.id).pending);
    tokens.revoke(&kept.id, None).await.unwrap();
    let (left, factors) = store.sessions().await.unwrap();
    assert!(left.is_empty() && factors.is_empty(), "they go with their token");
}
