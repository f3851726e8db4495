//! Domains against a DNS and a web that a test makes up.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use tenement_wire::domains::{DnsState, DomainProof, DomainState, DomainView, RoutingChange};

use super::*;
use crate::dns::{Ask, Findings, Probing};
use crate::token::Reach;

/// Says what it was told to say, and counts.
#[derive(Default)]
struct Fake {
    txt: Mutex<Vec<(String, String)>>,
    http: Mutex<Vec<String>>,
    asked: Mutex<Vec<Ask>>,
}

impl Prober for Arc<Fake> {
    fn probe(&self, ask: Ask) -> Probing<'_> {
        self.asked.lock().unwrap().push(ask.clone());
        let txt = self.txt.lock().unwrap().contains(&(ask.txt_name, ask.txt_value));
        let http = self.http.lock().unwrap().contains(&ask.host);
        let addresses = if http { vec![[198, 51, 100, 1].into()] } else { vec![] };
        let findings = Findings { txt: Some(txt), http, addresses, ..Findings::default() };
        Box::pin(async move { findings })
    }
}

/// A host with `api:alice`, `api:bob` and `web:a`.
#[derive(Clone, Default)]
struct House {
    published: Arc<AtomicUsize>,
    /// How often all instances of a process were asked for.
    clones: Arc<AtomicUsize>,
    has_calls: Arc<AtomicUsize>,
    told: Arc<Mutex<Vec<String>>>,
}

impl House {
    fn all() -> [InstanceName; 3] {
        ["api:alice", "api:bob", "web:a"].map(|name| name.parse().unwrap())
    }
}

impl Home for House {
    fn owns(&self, name: &DomainName) -> bool {
        name.is_of("host.example")
    }

    fn process(&self, process: &ProcessName) -> Option<(u32, Vec<InstanceName>)> {
        self.clones.fetch_add(1, SeqCst);
        let own: Vec<_> =
            Self::all().into_iter().filter(|name| name.process() == process).collect();
        (!own.is_empty()).then_some((100, own))
    }

    fn has_process(&self, process: &ProcessName) -> bool {
        self.process(process).is_some()
    }

    fn has(&self, target: &RouteTarget) -> bool {
        self.has_calls.fetch_add(1, SeqCst);
        Self::all().into_iter().any(|name| match target.instance_name() {
            Some(one) => one == name,
            None => *name.process() == target.process,
        })
    }

    fn identity(&self, target: &RouteTarget) -> Option<String> {
        Some(format!("id of {target}"))
    }

    fn tell(&self, event: Event) {
        self.told.lock().unwrap().push(event.message);
    }

    fn publish(&self) {
        self.published.fetch_add(1, SeqCst);
    }
}

struct World {
    domains: Arc<Domains>,
    net: Arc<Fake>,
    home: House,
}

fn world() -> World {
    let (net, home) = (Arc::new(Fake::default()), House::default());
    let domains = Arc::new(Domains::new(None));
    domains.set_home(home.clone());
    domains.set_prober(Arc::new(net.clone()));
    World { domains, net, home }
}

fn of(name: &str) -> Reach {
    Reach::Instance(name.parse().unwrap())
}

impl World {
    async fn add(&self, name: &str, target: &str, reach: Reach) -> Result<DomainView, DomainError> {
        let (name, target) = (name.parse().unwrap(), target.parse().unwrap());
        self.domains.add(Wish { name, target, by: "uid 0".into(), reach }).await
    }

    async fn check(&self, name: &str) -> DomainView {
        self.domains.check(&name.parse().unwrap(), &Reach::Host).await.unwrap()
    }

    fn prove(&self, view: &DomainView) {
        let challenge = view.challenge.as_ref().unwrap();
        self.net
            .txt
            .lock()
            .unwrap()
            .push((challenge.txt_name.clone(), challenge.txt_value.clone()));
    }
}

#[tokio::test]
async fn a_domain_routes_from_the_moment_its_txt_record_is_there() {
    let world = world();
    let added = world.add("shop.customer.com", "api:alice", of("api:alice")).await.unwrap();
    assert_eq!((added.state, added.dns.state), (DomainState::Pending, DnsState::Unknown));
    let missing = world.check("shop.customer.com").await;
    assert_eq!((missing.state, missing.dns.state), (DomainState::Pending, DnsState::Missing));
    assert!(missing.fix[0].contains("_tenement-challenge.shop.customer.com TXT"), "{missing:?}");
    assert!(missing.fix[1].contains("CNAME"), "{missing:?}");
    assert!(missing.next_check_ms > missing.checked_ms);
    let before = world.home.published.load(SeqCst);
    world.prove(&added);
    let verified = world.check("shop.customer.com").await;
    assert_eq!((verified.state, verified.proof), (DomainState::Verified, Some(DomainProof::Txt)));
    assert_eq!(verified.challenge, None);
    assert!(world.home.published.load(SeqCst) > before, "no table was made");
}

#[tokio::test]
async fn that_a_name_leads_here_proves_it_for_the_host_and_never_for_a_tenant() {
    let world = world();
    for name in ["ours.customer.com", "theirs.customer.com", "check.wild.example"] {
        world.net.http.lock().unwrap().push(name.into());
    }
    world.add("ours.customer.com", "api", Reach::Host).await.unwrap();
    let theirs = world.add("theirs.customer.com", "api:bob", of("api:bob")).await.unwrap();
    assert_eq!(theirs.challenge.unwrap().http_url, None);
    world.add("*.wild.example", "api:bob", Reach::Host).await.unwrap();
    assert_eq!(world.check("ours.customer.com").await.proof, Some(DomainProof::Http));
    let still = world.check("theirs.customer.com").await;
    assert_eq!((still.state, still.dns.state), (DomainState::Pending, DnsState::Here));
    assert_eq!(world.check("*.wild.example").await.state, DomainState::Pending, "TXT only");
}

#[tokio::test]
async fn a_name_below_somebodys_wildcard_is_proven_by_txt_alone() {
    let world = world();
    let wild = world.add("*.customer.com", "api:alice", Reach::Host).await.unwrap();
    world.prove(&wild);
    assert_eq!(world.check("*.customer.com").await.state, DomainState::Verified);
    world.net.http.lock().unwrap().push("shop.customer.com".into());
    world.add("shop.customer.com", "api:bob", Reach::Host).await.unwrap();
    assert_eq!(world.check("shop.customer.com").await.state, DomainState::Pending);
}

#[tokio::test]
async fn tenants_see_their_own_domains_and_a_conflict_names_nobody() {
    let world = world();
    world.add("a.customer.com", "api:alice", Reach::Host).await.unwrap();
    world.add("b.customer.com", "api:bob", Reach::Host).await.unwrap();
    world.add("all.customer.com", "api", Reach::Host).await.unwrap();
    let names = |reach: &Reach| -> Vec<String> {
        let page = Page { after: None, limit: 9 };
        world
            .domains
            .list(reach, |_, _| true, page)
            .domains
            .into_iter()
            .map(|view| view.domain)
            .collect()
    };
    assert_eq!(names(&of("api:alice")), ["a.customer.com"]);
    assert_eq!(names(&Reach::Process("api".parse().unwrap())).len(), 3);
    assert_eq!(names(&Reach::Host).len(), 3);
    let other = of("api:alice");
    let name = "b.customer.com".parse().unwrap();
    assert!(matches!(world.domains.show(&name, &other), Err(DomainError::Unknown(_))));
    assert!(matches!(world.domains.check(&name, &other).await, Err(DomainError::Unknown(_))));
    assert!(matches!(world.domains.remove(&name, &other).await, Err(DomainError::Unknown(_))));
    let taken = world.add("b.customer.com", "api:alice", other.clone()).await.unwrap_err();
    assert!(matches!(taken, DomainError::Claimed { .. }));
    assert!(!taken.to_string().contains("bob"), "{taken}");
    for target in ["api:bob", "api", "web"] {
        assert!(world.add("c.customer.com", target, other.clone()).await.is_err(), "{target}");
    }
}

#[tokio::test]
async fn our_own_names_and_unknown_targets_are_refused() {
    let world = world();
    for name in ["host.example", "x.host.example", "*.host.example", "*.example"] {
        if let Ok(name) = name.parse::<DomainName>() {
            let added = world.add(name.as_str(), "api", Reach::Host).await;
            assert!(matches!(added, Err(DomainError::Ours(_))), "{name}: {added:?}");
        }
    }
    for target in ["nope", "api:nobody"] {
        let added = world.add("a.customer.com", target, Reach::Host).await;
        assert!(matches!(added, Err(DomainError::Failed(_))), "{target}: {added:?}");
    }
    let first = world.add("a.customer.com", "api:bob", Reach::Host).await.unwrap();
    let again = world.add("a.customer.com", "api:bob", Reach::Host).await.unwrap();
    assert_eq!(first.challenge, again.challenge, "the same again stays as it is");
    world.domains.remove(&"a.customer.com".parse().unwrap(), &Reach::Host).await.unwrap();
    let anew = world.add("a.customer.com", "api:bob", Reach::Host).await.unwrap();
    assert_ne!(first.challenge, anew.challenge, "an old record proves nothing any more");
}

#[test]
fn who_repeats_the_path_of_a_proof_proves_nothing() {
    let token = "0123456789abcdef0123456789abcdef01234567";
    let path = view::path_of(token);
    assert!(!path.contains(token));
    assert_eq!(proves(&path, token), Some(token));
    for bad in ["/.well-known/tenement-challenge/", "/.well-known/tenement-challenge/0123", "/x"] {
        assert_eq!(proves(bad, token), None, "{bad}");
    }
    assert_eq!(proves(&format!("{path}4"), token), None);
}

#[tokio::test]
async fn weights_and_maintenance_are_set_and_told() {
    let world = world();
    let api: ProcessName = "api".parse().unwrap();
    let change = |instance: Option<&str>, weight, maintenance| RoutingChange {
        instance: instance.map(|id| id.parse().unwrap()),
        weight,
        maintenance,
    };
    let set = change(Some("bob"), Some(25), None);
    let routing = world.domains.change_routing(&api, set).await.unwrap();
    let shares: Vec<_> = routing.weights.iter().map(|one| (one.weight, one.percent)).collect();
    assert_eq!(shares, [(100, 80.0), (25, 20.0)]);
    let on = world.domains.change_routing(&api, change(None, None, Some(true))).await.unwrap();
    assert!(on.maintenance && on.since_ms.is_some() && world.domains.is_maintained(&api));
    let off = world.domains.change_routing(&api, change(Some("bob"), None, Some(false))).await;
    let off = off.unwrap();
    assert!(!off.maintenance && off.weights.iter().all(|one| one.weight == 100 && !one.set));
    let nobody = change(Some("nobody"), Some(1), None);
    assert!(world.domains.change_routing(&api, nobody).await.is_err());
}

#[tokio::test]
async fn a_page_of_domains_asks_once_for_each_that_it_shows_and_never_for_all_instances() {
    let world = world();
    for i in 0..100 {
        world.add(&format!("d{i:03}.customer.com"), "api:alice", Reach::Host).await.unwrap();
    }
    world.home.clones.store(0, SeqCst);
    world.home.has_calls.store(0, SeqCst);
    let page = Page { after: Some("d009.customer.com"), limit: 5 };
    let listed = world.domains.list(&Reach::Host, |_, _| true, page);
    let names: Vec<_> = listed.domains.iter().map(|view| view.domain.as_str()).collect();
    assert_eq!((names[0], names.len()), ("d010.customer.com", 5));
    assert_eq!((listed.total, listed.next.as_deref()), (100, Some("d014.customer.com")));
    assert_eq!((world.home.clones.load(SeqCst), world.home.has_calls.load(SeqCst)), (0, 5));
    let last = Page { after: Some("d094.customer.com"), limit: 5 };
    let last = world.domains.list(&Reach::Host, |_, state| state == DomainState::Pending, last);
    assert_eq!((last.domains.len(), last.next), (5, None));
}

#[tokio::test]
async fn the_owner_of_a_name_gets_it_from_whoever_has_added_it_without_a_proof() {
    let world = world();
    let squatted = world.add("shop.customer.com", "api:alice", of("api:alice")).await.unwrap();
    let refused = world.add("shop.customer.com", "api:bob", of("api:bob")).await.unwrap_err();
    let DomainError::Claimed { txt_name, txt_value, .. } = refused else { panic!("{refused}") };
    assert_ne!(txt_value, squatted.challenge.as_ref().unwrap().txt_value);
    // Added anew by the other one, it still takes the same record.
    let name = "shop.customer.com".parse().unwrap();
    world.domains.remove(&name, &Reach::Host).await.unwrap();
    world.add("shop.customer.com", "api:alice", of("api:alice")).await.unwrap();
    world.net.txt.lock().unwrap().push((txt_name, txt_value));
    assert!(
        world.add("shop.customer.com", "web:a", of("web:a")).await.is_err(),
        "it proves nothing for another target"
    );
    let view = world.add("shop.customer.com", "api:bob", of("api:bob")).await.unwrap();
    assert_eq!((view.state, view.proof), (DomainState::Verified, Some(DomainProof::Txt)));
    assert_eq!(view.target.to_string(), "api:bob");
    let late = world.add("shop.customer.com", "api:alice", of("api:alice")).await.unwrap_err();
    assert!(matches!(late, DomainError::Taken(_)), "one that is proven is taken: {late}");
}

#[tokio::test]
async fn a_restricted_token_holds_a_bounded_number_of_names_that_it_does_not_prove() {
    let world = world();
    for i in 0..50 {
        world.add(&format!("d{i}.customer.com"), "api:alice", of("api:alice")).await.unwrap();
    }
    let more = world.add("more.customer.com", "api:alice", of("api:alice")).await.unwrap_err();
    assert!(matches!(more, DomainError::TooManyOfYours { count: 50, .. }), "{more}");
    world.add("more.customer.com", "api:bob", of("api:bob")).await.unwrap();
    world.add("host.customer.com", "api:alice", Reach::Host).await.unwrap();
}

#[tokio::test]
async fn domains_of_an_instance_that_is_deleted_with_its_data_are_not_its_namesakes() {
    let world = world();
    for (name, target) in
        [("a.customer.com", "api:alice"), ("b.customer.com", "api:bob"), ("c.customer.com", "api")]
    {
        world.add(name, target, Reach::Host).await.unwrap();
    }
    let alice = "api:alice".parse().unwrap();
    let ended = world.domains.end_with(&alice).await.unwrap();
    assert_eq!(ended.iter().map(DomainName::as_str).collect::<Vec<_>>(), ["a.customer.com"]);
    let page = Page { after: None, limit: 9 };
    assert_eq!(world.domains.list(&Reach::Host, |_, _| true, page).total, 2);
    let told = world.home.told.lock().unwrap().join(" ");
    assert!(told.contains("a.customer.com") && !told.contains("b.customer.com"), "{told}");
}
