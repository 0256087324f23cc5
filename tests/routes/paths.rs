//! Paths, methods and heads.

use ekiben::routes::Route;

use crate::harness::Service;

/// A path of every route.
fn path_of(route: Route) -> String {
    route.template().replace("{endpoint}", "echo")
}

#[actix_web::test]
async fn every_route_of_the_map_is_served() {
    let service = Service::start().await;
    for route in Route::PLAIN {
        for method in route.methods().split(", ") {
            let status = service.ask(method, &path_of(route)).await.status().as_u16();
            assert!(status != 404 && status != 405, "{method} {}: {status}", route.template());
        }
    }
}

#[actix_web::test]
async fn a_route_asked_with_another_method_tells_which_it_takes() {
    let service = Service::start().await;
    for route in Route::PLAIN {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "ODD"] {
            if route.methods().split(", ").any(|known| known == method) {
                continue;
            }
            let answer = service.ask(method, &path_of(route)).await;
            assert_eq!(answer.status(), 405, "{method} {}", route.template());
            assert_eq!(answer.headers()["allow"], route.methods());
            assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
            assert_eq!(answer.text().await.unwrap(), "Method Not Allowed");
        }
    }
}

#[actix_web::test]
async fn a_path_that_is_no_route_is_not_found() {
    let service = Service::start().await;
    let odd = [
        "/nowhere",
        "/nowhere/submit",
        "/nowhere/",
        "/echo/submitx",
        "/echo/submit/x",
        "/echo//submit",
        "//",
        "//echo",
        "//echo/",
        "/echo/..",
        "/Echo/submit",
        "/echo%2Fsubmit",
        "/%00",
        "/echo%00/submit",
        "/livez/x",
        "/nowhere/submit/",
    ];
    for path in odd {
        for method in ["GET", "POST", "DELETE"] {
            let mut raw = service.connect();
            raw.send(format!("{method} {path} HTTP/1.1\r\nhost: t\r\n\r\n"));
            let answer = raw.answer(true);
            assert_eq!((answer.status, answer.body.as_slice()), (404, b"Not Found".as_slice()), "{method} {path}");
            assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        }
    }
}

#[actix_web::test]
async fn a_slash_too_many_is_sent_to_the_path_without_and_keeps_the_query() {
    let service = Service::start().await;
    for (path, location) in [
        ("/echo/submit/", "/echo/submit"),
        ("/echo/status/?task_id=1&x=%00", "/echo/status?task_id=1&x=%00"),
        ("/echo/", "/echo"),
        ("/readyz//", "/readyz"),
        ("/schema.json/?", "/schema.json?"),
    ] {
        for method in ["GET", "POST"] {
            let answer = service.ask(method, path).await;
            assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (307, location));
        }
    }
}

#[actix_web::test]
async fn head_is_answered_as_get_without_the_body() {
    let service = Service::start().await;
    let done = service.submit("echo", "rice").await;
    service.until("echo", &done, "completed").await;
    let large = service.submit("large", vec![7; 1 << 20]).await;
    service.until("large", &large, "completed").await;
    let paths = [
        "/livez".into(),
        "/readyz".into(),
        "/schema.json".into(),
        "/".into(),
        "/nowhere".into(),
        "/echo/status".into(),
        format!("/echo/status?task_id={done}"),
        format!("/echo/get?task_id={done}"),
        format!("/large/get?task_id={large}"),
    ];
    let mut raw = service.connect();
    for path in paths {
        raw.send(format!("GET {path} HTTP/1.1\r\nhost: t\r\n\r\n"));
        let get = raw.answer(true);
        raw.send(format!("HEAD {path} HTTP/1.1\r\nhost: t\r\n\r\n"));
        let head = raw.answer(false);
        assert_eq!(head.status, get.status, "{path}");
        for name in ["content-length", "content-type"] {
            assert_eq!(head.headers.get(name), get.headers.get(name), "{path}");
        }
    }
}

#[actix_web::test]
async fn a_connection_serves_request_after_request_also_after_errors() {
    let service = Service::start().await;
    let mut raw = service.connect();
    for _ in 0..2 {
        raw.post("/echo/submit", "", b"rice");
        assert_eq!(raw.answer(true).status, 200);
        raw.post("/nowhere", "", b"");
        assert_eq!(raw.answer(true).status, 404);
        raw.post("/echo/status", "", b"");
        assert_eq!(raw.answer(true).status, 405);
        raw.send("GET /echo/status HTTP/1.1\r\nhost: t\r\n\r\n");
        assert_eq!(raw.answer(true).status, 400);
        raw.post("/echo/submit", "content-encoding: gzip\r\n", b"not gzip");
        assert_eq!(raw.answer(true).status, 400);
    }
    raw.send("GET /livez HTTP/1.1\r\nhost: t\r\n\r\nGET /readyz HTTP/1.1\r\nhost: t\r\n\r\n");
    assert_eq!((raw.answer(true).status, raw.answer(true).status), (200, 200));
}

#[actix_web::test]
async fn a_head_over_the_limit_is_refused() {
    let service = Service::with(|config| config.http.header_bytes = 1000).await;
    let fits = service.http.get(service.url("/livez")).header("x-filler", "x".repeat(800)).send().await.unwrap();
    assert_eq!(fits.status(), 200);
    for (path, filler) in [("/livez".to_owned(), 1000), (format!("/livez?{}", "x".repeat(1000)), 1)] {
        let over = service.http.get(service.url(&path)).header("x-filler", "x".repeat(filler)).send().await.unwrap();
        crate::harness::assert_error(over, 431, "the request's head is larger than the limit of 1000 bytes").await;
    }
}
