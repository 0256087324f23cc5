//! Bodies and headers of submissions: kept byte for byte, held to their limits, and nothing left of what is cut.

use std::io::Write;
use std::time::Duration;

use ekiben_actors::registry::Counts;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::Value;

use crate::harness::{Raw, Service, assert_error, forwarding, task_id};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Every byte, many times over, and hard to pack.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// What `echo` gives back for a request by hand.
async fn echoed(service: &Service, raw: &mut Raw) -> Vec<u8> {
    let answer = raw.answer(true);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let id = answer["task_id"].as_str().unwrap();
    service.until("echo", id, "completed").await;
    let result = service.ask("GET", &format!("/echo/get?task_id={id}")).await;
    result.bytes().await.unwrap().to_vec()
}

async fn tasks(service: &Service) -> u64 {
    let counts = service.app.system.registry.send(Counts).await.unwrap().unwrap();
    counts.iter().map(|count| count.tasks).sum()
}

#[actix_web::test]
async fn what_is_no_json_is_taken_and_kept_byte_for_byte() {
    let service = Service::start().await;
    let noise = noise(300_000);
    let bodies: [&[u8]; 9] = [
        b"",
        b"{",
        b"{\"a\": NaN}",
        b"\0",
        b"\"\\ud800\"",
        b"\xed\xa0\x80",
        b"\xff\xfe",
        b"{\"a\": 1} trailing",
        &noise,
    ];
    for body in bodies {
        let result = service.result_of("echo", body.to_vec(), "completed").await;
        assert_eq!(result.headers().get("content-type"), None);
        assert_eq!(result.bytes().await.unwrap(), body);
    }
}

#[actix_web::test]
async fn forms_and_multipart_are_kept_with_their_boundaries() {
    let service = Service::start().await;
    let multipart = b"--b\r\nContent-Disposition: form-data; name=\"angle\"\r\n\r\n10\r\n--b\r\nContent-Disposition: \
        form-data; name=\"image\"; filename=\"in.png\"\r\nContent-Type: image/png\r\n\r\n\x89PNG\0\r\n--b--\r\n";
    let cases: [(&str, &[u8]); 4] = [
        ("multipart/form-data; boundary=b", multipart),
        ("multipart/form-data", b"no boundary"),
        ("application/x-www-form-urlencoded", b"file=http%3A%2F%2Fexample.com%2Fx.txt&x=null"),
        ("image/png", b"\x89PNG\0"),
    ];
    for (content_type, body) in cases {
        let request = service.http.post(service.url("/echo/submit")).header("content-type", content_type);
        let id = task_id(request.body(body).send().await.unwrap()).await;
        service.until("echo", &id, "completed").await;
        let result = service.ask("GET", &format!("/echo/get?task_id={id}")).await;
        assert_eq!(result.headers()["content-type"], content_type);
        assert_eq!(result.bytes().await.unwrap(), body);
    }
    let form =
        reqwest::multipart::Form::new().text("angle", "10").part("image", reqwest::multipart::Part::bytes(noise(99)));
    let answer = service.http.post(service.url("/echo")).multipart(form).send().await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("multipart/form-data; boundary="));
}

#[actix_web::test]
async fn a_chunked_body_is_put_together() {
    let service = Service::start().await;
    let mut raw = service.connect();
    raw.send("POST /echo/submit HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n");
    for part in ["4\r\nrice\r\n", "1;ext=1\r\n \r\n", "5\r\nball", "s\r\n", "0\r\n\r\n"] {
        raw.send(part);
    }
    assert_eq!(echoed(&service, &mut raw).await, b"rice balls");
    raw.send("POST /echo/submit HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(echoed(&service, &mut raw).await, b"");
}

#[actix_web::test]
async fn a_packed_body_is_kept_unpacked() {
    let service = Service::start().await;
    let (text, large) = (b"rice".repeat(100), noise(300_000));
    let two_members = [gzip(&large), gzip(&text)].concat();
    let both = [large.as_slice(), &text].concat();
    let cases: [(&str, Vec<u8>, &[u8]); 8] = [
        ("gzip", gzip(&text), &text),
        ("x-gzip", gzip(&large), &large),
        ("GZip", two_members, &both),
        ("gzip", gzip(b""), b""),
        ("gzip", Vec::new(), b""),
        ("deflate", deflate(&text), &text),
        ("deflate", deflate(&large), &large),
        ("identity", text.clone(), &text),
    ];
    let mut raw = service.connect();
    for (coding, packed, expected) in cases {
        raw.post("/echo/submit", &format!("content-encoding: {coding}\r\n"), &packed);
        assert_eq!(echoed(&service, &mut raw).await, expected, "{coding}");
    }
    raw.send("POST /echo/submit HTTP/1.1\r\nhost: t\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n");
    for byte in gzip(&text) {
        raw.send([b"1\r\n", [byte].as_slice(), b"\r\n"].concat());
    }
    raw.send("0\r\n\r\n");
    assert_eq!(echoed(&service, &mut raw).await, text);
}

#[actix_web::test]
async fn a_body_that_is_not_packed_as_it_says_is_refused() {
    let service = Service::start().await;
    let packed = gzip(&noise(1000));
    let mut wrong_sum = packed.clone();
    let last = wrong_sum.len() - 1;
    wrong_sum[last] ^= 1;
    let trailing = [deflate(b"rice"), b"more".to_vec()].concat();
    let cases = [
        ("gzip", b"not gzip".to_vec()),
        ("gzip", packed[..packed.len() / 2].to_vec()),
        ("gzip", packed[..packed.len() - 3].to_vec()),
        ("gzip", wrong_sum),
        ("deflate", packed),
        ("deflate", trailing),
    ];
    for (coding, body) in cases {
        let request = service.http.post(service.url("/echo/submit")).header("content-encoding", coding);
        let answer = request.body(body).send().await.unwrap();
        assert_error(answer, 400, "the body could not be read: it is not what its content-encoding says").await;
    }
    for (codings, named) in [(vec!["br"], "br"), (vec!["gzip, gzip"], "gzip, gzip"), (vec!["gzip", "gzip"], "gzip, …")]
    {
        let mut request = service.http.post(service.url("/echo/submit"));
        for coding in codings {
            request = request.header("content-encoding", coding);
        }
        let answer = request.body("x").send().await.unwrap();
        let error = format!("content-encoding \"{named}\" is not supported: send gzip, deflate or none");
        assert_error(answer, 415, &error).await;
    }
    assert_eq!(tasks(&service).await, 0);
}

// ---- limits ----

const LIMIT: u64 = 1 << 20;
const TOO_LARGE: &str = "the body is larger than the limit of 1048576 bytes";

async fn limited() -> Service {
    Service::with(|config| config.limits.body = LIMIT).await
}

#[actix_web::test]
async fn a_body_of_the_limit_is_taken_and_one_byte_more_is_not() {
    let service = limited().await;
    let body = noise(LIMIT as usize);
    let result = service.result_of("echo", body.clone(), "completed").await;
    assert!(result.bytes().await.unwrap() == body);

    let over = [body.as_slice(), b"x"].concat();
    assert_error(service.post("/echo/submit", over.clone()).await, 413, TOO_LARGE).await;
    assert_error(service.post("/echo", over.clone()).await, 413, TOO_LARGE).await;
    let chunks = futures::stream::iter(
        over.chunks(1000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>(),
    );
    assert_error(service.post("/echo/submit", reqwest::Body::wrap_stream(chunks)).await, 413, TOO_LARGE).await;
    assert_eq!(tasks(&service).await, 1);
}

#[actix_web::test]
async fn a_length_over_the_limit_is_refused_before_the_body_comes() {
    let service = limited().await;
    for length in [LIMIT + 1, 1 << 30, u64::MAX] {
        let mut raw = service.connect();
        raw.send(format!("POST /echo/submit HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n\r\n"));
        let answer = raw.answer(true);
        assert_eq!((answer.status, answer.error().as_str()), (413, TOO_LARGE));
        assert_eq!(answer.headers["connection"], "close");
    }
}

#[actix_web::test]
async fn a_client_in_the_middle_of_sending_hears_that_it_is_too_much() {
    let service = limited().await;
    let chunk = noise(1 << 16);
    for head in ["content-length: 134217728", "transfer-encoding: chunked"] {
        let mut raw = service.connect();
        raw.send(format!("POST /echo/submit HTTP/1.1\r\nhost: t\r\n{head}\r\n\r\n"));
        let chunked = head.starts_with("transfer");
        for _ in 0..2048 {
            if chunked {
                raw.send("10000\r\n");
            }
            raw.send(&chunk);
            if chunked {
                raw.send("\r\n");
            }
        }
        let answer = raw.answer(true);
        assert_eq!((answer.status, answer.error().as_str()), (413, TOO_LARGE));
        raw.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(raw.ends());
    }
    assert_eq!(tasks(&service).await, 0);
}

#[actix_web::test]
async fn a_small_body_that_unpacks_to_a_large_one_is_refused() {
    // Made first: it may take longer than a server keeps a connection that does nothing.
    let bomb = gzip(&vec![0; 64 << 20]);
    let service = limited().await;
    assert!((bomb.len() as u64) < LIMIT);
    let request = service.http.post(service.url("/echo/submit")).header("content-encoding", "gzip");
    assert_error(request.body(bomb).send().await.unwrap(), 413, TOO_LARGE).await;
}

#[actix_web::test]
async fn a_client_that_sends_too_slowly_is_told_and_let_go() {
    let service = Service::with(|config| {
        config.http.read_timeout = Duration::from_millis(50);
        config.http.read_rate_min = 1 << 20;
    })
    .await;
    for head in ["content-length: 100", "transfer-encoding: chunked"] {
        let mut raw = service.connect();
        raw.send(format!("POST /echo/submit HTTP/1.1\r\nhost: t\r\n{head}\r\n\r\n1"));
        let answer = raw.answer(true);
        assert_eq!(answer.status, 408, "{answer:?}");
        assert!(answer.error().starts_with("the body came too slowly: "), "{answer:?}");
        assert_eq!(answer.headers["connection"], "close");
    }
    assert_eq!(tasks(&service).await, 0);
}

#[actix_web::test]
async fn a_pause_is_allowed_where_no_rate_is_asked_for_but_not_a_long_one() {
    let service = Service::with(|config| {
        config.http.read_timeout = Duration::from_millis(50);
        config.http.read_rate_min = 0;
    })
    .await;
    let mut raw = service.connect();
    raw.send("POST /echo/submit HTTP/1.1\r\nhost: t\r\ncontent-length: 100\r\n\r\n1");
    assert_eq!(raw.answer(true).status, 408);
}

#[actix_web::test]
async fn a_client_that_vanishes_while_it_sends_leaves_nothing() {
    let service = Service::start().await;
    for head in ["content-length: 100", "transfer-encoding: chunked"] {
        let mut raw = service.connect();
        raw.send(format!("POST /echo/submit HTTP/1.1\r\nhost: t\r\n{head}\r\n\r\n4\r\nrice\r\n"));
    }
    let refused = |service: &Service| service.app.traffic.answered().iter().map(|one| one.requests).sum::<u64>();
    // Beside the harness's own question, whether the server is there.
    while refused(&service) < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(tasks(&service).await, 0);
}

#[actix_web::test]
async fn a_body_that_ends_early_is_refused_where_the_client_still_listens() {
    let service = Service::start().await;
    let mut raw = service.connect();
    raw.send("POST /echo/submit HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n");
    let answer = raw.answer(true);
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (400, "the body could not be read: it was cut short, or is not chunked as it should be")
    );
    assert_eq!(tasks(&service).await, 0);
}

#[actix_web::test]
async fn an_endless_body_that_nobody_reads_does_not_keep_its_connection() {
    let service = Service::start().await;
    for (request, status) in [("POST /echo/cancel", 400), ("POST /nowhere", 404), ("DELETE /echo/submit", 405)] {
        let mut raw = service.connect();
        raw.send(format!("{request} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n4\r\nrice\r\n"));
        let answer = raw.answer(true);
        assert_eq!((answer.status, answer.headers["connection"].as_str()), (status, "close"), "{request}");
    }
}

// ---- results ----

#[actix_web::test]
async fn a_result_in_a_file_is_streamed_with_its_length() {
    let service = Service::start().await;
    let body = noise(3_000_000);
    let result = service.result_of("large", body.clone(), "completed").await;
    assert_eq!(result.headers()["content-length"], "3000000");
    assert_eq!(result.headers()["content-type"], "application/x-large");
    assert_eq!(result.headers()["content-disposition"], "attachment; filename=\"large.bin\"");
    assert!(result.bytes().await.unwrap() == body);
}

// ---- headers ----

async fn kept(service: &Service) -> Vec<(String, String)> {
    let mut raw = service.connect();
    let headers = "Content-Type: text/plain\r\ncontent-language: ja\r\naccept-language: de\r\ntraceparent: 00-1-2-00\r\n\
        tracestate: a=1\r\ntracestate: b=2\r\nauthorization: Bearer secret\r\ncookie: a=1\r\nx-tenant: t1\r\n\
        x-odd: caf\u{e9}\r\nx-api-key: secret\r\n";
    raw.post("/heads", headers, b"");
    let answer = raw.answer(true);
    assert_eq!(answer.status, 200);
    serde_json::from_slice(&answer.body).unwrap()
}

const ALWAYS_KEPT: [(&str, &str); 6] = [
    ("content-type", "text/plain"),
    ("content-language", "ja"),
    ("accept-language", "de"),
    ("traceparent", "00-1-2-00"),
    ("tracestate", "a=1"),
    ("tracestate", "b=2"),
];

fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[actix_web::test]
async fn only_safe_headers_are_kept_with_a_task() {
    let service = Service::start().await;
    assert_eq!(kept(&service).await, owned(&ALWAYS_KEPT));
}

#[actix_web::test]
async fn an_endpoint_may_name_more_headers_to_keep() {
    let names = ["x-tenant", "authorization", "x-odd", "x-missing", "content-length", "content-encoding", "not a name"];
    let service = Service::with(|config| forwarding(&mut config.endpoints[2], &names)).await;
    let more = [("x-tenant", "t1"), ("authorization", "Bearer secret")];
    assert_eq!(kept(&service).await, owned(&[&ALWAYS_KEPT[..], &more].concat()));
}
