//! The native API: pages of tasks.

use ekiben_actors::task::TaskId;
use serde_json::Value;

use crate::harness::Service;
use crate::native::{assert_problem, submit, until};

async fn page(service: &Service, query: &str) -> Value {
    let answer = service.ask("GET", &format!("/v1/tasks?{query}")).await;
    assert_eq!(answer.status(), 200, "{query}");
    answer.json().await.unwrap()
}

fn ids(page: &Value) -> Vec<String> {
    page["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn pages_follow_one_another_newest_first_while_tasks_arrive() {
    let service = Service::start().await;
    let mut submitted = Vec::new();
    for _ in 0..7 {
        submitted.push(submit(&service, "echo", "x").await["id"].as_str().unwrap().to_owned());
    }
    submitted.reverse();
    let (mut shown, mut cursor) = (Vec::new(), String::new());
    for _ in 0..4 {
        let page = page(&service, &format!("limit=3{cursor}")).await;
        shown.extend(ids(&page));
        submit(&service, "echo", "late").await;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(shown, submitted);
}

#[actix_web::test]
async fn a_page_keeps_to_what_it_is_asked_for() {
    let service = Service::start().await;
    let tagged = |endpoint: &str, tags: &'static str, body: &'static str| {
        let path = service.url(&format!("/v1/endpoints/{endpoint}/tasks"));
        let request = service.http.post(path).header("ekiben-tags", tags).body(body);
        async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
    };
    let rice = tagged("echo", "project=rice, kind=a:b", "x").await;
    let made = |id: TaskId| id.made_at().unwrap();
    let made_rice = made(rice["id"].as_str().unwrap().parse().unwrap());
    // Two ids of one millisecond no time could tell apart.
    while made(TaskId::generate()) == made_rice {
        tokio::task::yield_now().await;
    }
    let beans = tagged("fail", "project=beans, kind=a:b", "timeout").await;
    until(&service, &rice, "completed").await;
    let beans = until(&service, &beans, "failed").await;
    let id = |task: &Value| task["id"].as_str().unwrap().to_owned();
    // By the time in their ids, which is when their submissions began.
    let time = |task: &Value| made(id(task).parse().unwrap()).to_rfc3339();
    for (query, expected) in [
        ("tag=project:rice".to_owned(), vec![id(&rice)]),
        ("tag=kind:a:b".to_owned(), vec![id(&beans), id(&rice)]),
        ("tag=kind:a:b&tag=project:beans".to_owned(), vec![id(&beans)]),
        ("tag=kind:a:b&state=completed,canceled".to_owned(), vec![id(&rice)]),
        ("state=failed&state=completed".to_owned(), vec![id(&beans), id(&rice)]),
        ("endpoint=fail".to_owned(), vec![id(&beans)]),
        ("endpoint=nobody".to_owned(), vec![]),
        ("submitted_before=2020-01-01T00:00:00Z".to_owned(), vec![]),
        (format!("submitted_after={}&submitted_before=2200-01-01T00:00:00Z", time(&beans)), vec![id(&beans)]),
    ] {
        assert_eq!(ids(&page(&service, &query).await), expected, "{query}");
    }
    let whole = page(&service, "endpoint=fail").await;
    assert_eq!(whole["tasks"][0], beans);
}

#[actix_web::test]
async fn a_question_that_makes_no_sense_is_refused_with_the_way_out() {
    let service = Service::start().await;
    for query in ["state=done", "limit=1001", "cursor=x", "tag=rice", "submitted_after=now", "stat=failed"] {
        assert_problem(service.ask("GET", &format!("/v1/tasks?{query}")).await, 400, "bad_query").await;
    }
}
