//! The scanner against generated requests.

use proptest::prelude::*;
use tenement_agent::framing::{Phase, RequestLimits, RequestScanner, ResponseScanner};

fn scanner() -> RequestScanner {
    RequestScanner::new(RequestLimits { bytes: 64 * 1024, fields: 100 })
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\r\n".to_owned()),
        "[ -~]{0,40}".prop_map(|text| format!("Content-Length: {}\r\n\r\n{text}", text.len())),
        (proptest::collection::vec("[ -~]{1,30}", 0..4), "(;[a-z]{1,5}(=\"[ -~&&[^\"]]{0,5}\")?)?")
            .prop_map(|(chunks, extension)| {
                let chunks: String =
                    chunks.iter().map(|c| format!("{:x}{extension}\r\n{c}\r\n", c.len())).collect();
                format!("Transfer-Encoding: Chunked\r\n\r\n{chunks}0\r\nX-T: y\r\n\r\n")
            }),
    ]
}

fn request() -> impl Strategy<Value = String> {
    let method = "(GET|POST|PUT|M-SEARCH|[A-Z!#$%&'*+.^_`|~-]{1,10})"
        .prop_filter("a tunnel", |m| m != "CONNECT");
    let target = "/[!-~&&[^#]]{0,30}";
    let host = "[a-zA-Z0-9]{1,20}([.-][a-z0-9]{1,9}){0,3}\\.?(:[0-9]{1,5})?";
    // `x-` keeps generated names apart from those with a meaning.
    let field = ("x-[A-Za-z0-9!#$%&'*+.^_`|~-]{0,20}", "[ \t]*[ -~\u{80}-\u{ff}]{0,40}");
    let fields = proptest::collection::vec(field, 0..10);
    (method, target, host, fields, body()).prop_map(|(method, target, host, fields, body)| {
        let fields: String = fields.iter().map(|(n, v)| format!("{n}:{v}\r\n")).collect();
        format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}{body}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn well_formed_requests_are_taken_wherever_they_are_split(
        requests in proptest::collection::vec(request(), 1..4),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let input = requests.concat().into_bytes();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.extend([0, input.len()]);
        cuts.sort_unstable();
        let mut scanner = scanner();
        for pair in cuts.windows(2) {
            let piece = &input[pair[0]..pair[1]];
            prop_assert_eq!(scanner.feed(piece), Ok(piece.len()));
        }
        prop_assert_eq!(scanner.phase(), Phase::Idle);
    }

    #[test]
    fn any_change_of_a_byte_gives_the_same_verdict_whole_and_byte_by_byte(
        request in request(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut input = request.into_bytes();
        let at = at.index(input.len());
        input[at] = byte;
        let mut whole = scanner();
        let verdict = whole.feed(&input).map_err(|r| r.reason);
        let mut pieces = scanner();
        let mut bytewise = Ok(0);
        for byte in &input {
            match pieces.feed(&[*byte]) {
                Ok(n) => bytewise = bytewise.map(|all| all + n),
                Err(rejected) => { bytewise = Err(rejected.reason); break; }
            }
        }
        prop_assert_eq!(bytewise, verdict);
        prop_assert_eq!(whole.phase(), pieces.phase());
    }

    #[test]
    fn no_bytes_make_a_scanner_panic(input in proptest::collection::vec(any::<u8>(), 0..300), head in any::<bool>()) {
        let _ = scanner().feed(&input);
        let mut response = ResponseScanner::new();
        response.expect(head, false);
        let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        answer.extend(&input);
        let _ = response.feed(&answer);
    }
}
