//! `search` with fake services that answer like Docker Hub and Quay, and with docker-registry.

use serde_json::json;

use crate::support::fake_registry::{FakeRegistry, Received, Reply};
use crate::support::registry_server::{Auth, PASSWORD, RegistryServer, USERNAME};
use crate::support::requirement::has_tools;
use crate::support::sandbox::Sandbox;

fn parameter(request: &Received, name: &str) -> String {
    let url = url::Url::parse(&format!("http://h{}", request.target)).unwrap();
    let found = url.query_pairs().find(|(key, _)| key == name);
    found
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// Two pages in Docker Hub's current format; one description holds terminal control sequences.
fn hub_v2() -> FakeRegistry {
    FakeRegistry::start(|request| match request.path() {
        "/v2/search/repositories" if parameter(request, "query") == "alpine" => {
            let answer = match parameter(request, "page").as_str() {
                "1" => json!({"count": 3, "next": "there is more", "previous": "", "results": [
                    {"repo_name": "alpine", "is_official": true, "star_count": 11000,
                     "short_description": "\u{1b}[31mA minimal\u{7} image\u{1b}[0m\nand more"},
                    {"repo_name": "lab/alpine", "is_official": false, "star_count": 1,
                     "short_description": "x".repeat(80)}]}),
                _ => json!({"count": 3, "next": null, "results": [
                    {"repo_name": "z/alpine", "star_count": null, "short_description": null}]}),
            };
            Reply::new(200, answer.to_string())
        }
        _ => Reply::new(404, "no such page"),
    })
}

fn lines(rows: &[(&str, &str, &str, &str)]) -> String {
    let mut text = format!("{:55} OFFICIAL {:70} STARS", "NAME", "DESCRIPTION");
    for (name, official, description, stars) in rows {
        text.push_str(&format!(
            "\n{name:55} {official:>8} {description:70} {stars:>5}"
        ));
    }
    text
}

#[test]
fn a_place_without_search_is_named_without_its_login() {
    let server = FakeRegistry::start(|_| Reply::new(404, ""));
    let sandbox = Sandbox::new();
    let index = format!("--index={}", server.url().replace("://", "://me:secret@"));
    let ran = sandbox.udocker(["search", &index, "tool"]).run();
    ran.exits_with(1)
        .errs_in_one_line(&[&format!("'{}/' offers no search", server.url())]);
    let ran = sandbox.udocker(["-D", "search", &index, "tool"]).run();
    let asked = format!("Debug: GET {}/v2/search/repositories?…: 404", server.url());
    assert!(ran.stderr.contains(&asked), "{ran:#?}");
    assert!(!ran.stderr.contains("secret"), "{ran:#?}");
}

#[test]
fn search_prints_every_page_of_docker_hub() {
    let hub = hub_v2();
    let sandbox = Sandbox::new();
    let index = format!("--index={}", hub.url());
    let long = "x".repeat(80);
    let expected = |description: &str| {
        lines(&[
            ("alpine", "[OK]", "A minimal image", "11000"),
            ("lab/alpine", "----", description, "1"),
            ("z/alpine", "----", "", ""),
        ])
    };
    for (option, description) in [("-a", &long[..70]), ("--no-trunc", &long)] {
        sandbox
            .udocker(["search", option, &index, "library/alpine"])
            .run()
            .succeeds()
            .prints(&expected(description));
    }
    // The variable has the same effect as the option; `docker.io/` names Docker Hub as well.
    for expression in ["alpine", "docker.io/alpine"] {
        sandbox
            .udocker(["search", expression])
            .env("UDOCKER_INDEX", hub.url())
            .run()
            .succeeds()
            .prints(&expected(&long[..70]));
    }
}

#[test]
fn search_understands_version_1_and_quay() {
    let old = FakeRegistry::start(|request| match request.path() {
        "/v1/search" if parameter(request, "q") == "tool" => Reply::new(
            200,
            json!({"num_pages": 1, "num_results": 1, "page": 1, "page_size": 25, "query": "tool",
                "results": [{"name": "lab/tool", "description": "old", "star_count": 5,
                "is_official": false}]})
            .to_string(),
        ),
        _ => Reply::new(404, ""),
    });
    let sandbox = Sandbox::new();
    let index = format!("--index={}/v1", old.url());
    sandbox
        .udocker(["search", &index, "tool"])
        .run()
        .succeeds()
        .prints(&lines(&[("lab/tool", "----", "old", "5")]));

    let quay = FakeRegistry::start(|request| match request.path() {
        "/api/v1/find/repositories" if parameter(request, "query") == "tool" => Reply::new(
            200,
            json!({"results": [{"kind": "repository", "namespace": {"name": "lab"}, "name": "tool",
                "description": null, "stars": 2}], "has_additional": false, "page": 1})
            .to_string(),
        ),
        _ => Reply::new(404, ""),
    });
    let host = quay.url();
    sandbox
        .udocker(["search", &format!("{host}/tool")])
        .run()
        .succeeds()
        .prints(&lines(&[(&format!("{host}/lab/tool"), "----", "", "2")]));
    sandbox
        .udocker(["search", &format!("--registry={host}"), "tool"])
        .run()
        .succeeds()
        .prints(&lines(&[("lab/tool", "----", "", "2")]));
}

#[test]
fn search_lists_the_catalog_of_a_registry_without_search() {
    if !has_tools(&["docker-registry", "htpasswd"]) {
        return;
    }
    let open = RegistryServer::plain();
    for repository in ["lab/tool", "lab/other", "toolbox"] {
        open.push_image(repository, "1", &[0; 1024]);
    }
    let guarded = open.sibling(Auth::Token, false);
    let sandbox = Sandbox::new();
    for server in [&open, &guarded] {
        let url = server.url();
        if url == guarded.url() {
            let refused = sandbox.udocker(["search", &format!("{url}/tool")]).run();
            refused
                .exits_with(1)
                .errs_in_one_line(&["only after a login"]);
            let (name, password) = (
                format!("--username={USERNAME}"),
                format!("--password={PASSWORD}"),
            );
            let registry = format!("--registry={url}");
            let login = sandbox.udocker(["login", &registry, &name, &password]);
            login.run().succeeds();
        }
        sandbox
            .udocker(["search", &format!("{url}/tool")])
            .run()
            .succeeds()
            .prints(&lines(&[
                (&format!("{url}/lab/tool"), "----", "", ""),
                (&format!("{url}/toolbox"), "----", "", ""),
            ]));
    }
}

#[test]
fn search_lists_tags_of_all_pages() {
    if !has_tools(&["docker-registry"]) {
        return;
    }
    let server = RegistryServer::plain();
    for tag in ["1", "2.0", "latest"] {
        server.push_image("lab/tool", tag, &[0; 1024]);
    }
    let sandbox = Sandbox::new();
    for image in [
        format!("{}/lab/tool", server.url()),
        format!("{}/lab/tool:1", server.url()),
        "lab/tool".to_string(),
    ] {
        let ran = sandbox
            .udocker(["search", "--list-tags", &image])
            .env("UDOCKER_REGISTRY", server.url())
            .run()
            .succeeds();
        // The registry lists tags in no particular order.
        let mut tags: Vec<&str> = ran.stdout.lines().collect();
        tags.sort_unstable();
        assert_eq!(tags, ["1", "2.0", "latest"], "{ran:#?}");
    }
    sandbox
        .udocker(["search", "--list-tags", &format!("{}/absent", server.url())])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["absent"]);

    let paged = FakeRegistry::start(|request| match parameter(request, "last").as_str() {
        "" => Reply::new(200, r#"{"name":"a/b","tags":["x","\u001b[31my"]}"#)
            .header("Link", r#"</v2/a/b/tags/list?last=y>; rel="next""#),
        _ => Reply::new(200, r#"{"name":"a/b","tags":["z"]}"#),
    });
    let ran = sandbox
        .udocker(["search", "--list-tags", &format!("{}/a/b", paged.url())])
        .run()
        .succeeds();
    assert!(!ran.stdout.contains('\u{1b}'), "{ran:#?}");
    assert_eq!(ran.stdout.lines().count(), 3, "{ran:#?}");
}

#[test]
fn search_names_a_registry_without_search() {
    let server = FakeRegistry::start(|_| Reply::new(404, "<html>"));
    let sandbox = Sandbox::new();
    for arguments in [
        [&format!("--index={}", server.url()), "x"],
        [&format!("--registry={}", server.url()), "x"],
    ] {
        sandbox
            .udocker(["search"].iter().chain(&arguments))
            .run()
            .exits_with(1)
            .errs_in_one_line(&[&server.url(), "offers no search"]);
    }
    // This registry answers 503 for unknown paths and denies access to its catalog.
    let odd = FakeRegistry::start(|request| match request.path() {
        "/v2/_catalog" => Reply::new(403, r#"{"errors":[{"code":"DENIED"}]}"#),
        _ => Reply::new(503, "no such backend"),
    });
    let ran = sandbox.udocker(["search", &format!("{}/x", odd.url())]);
    ran.run()
        .exits_with(1)
        .errs_in_one_line(&["offers no search", "--list-tags"]);
    assert_eq!(odd.requests().len(), 4);
    for (index, part) in [
        ("--index=ftp://x", "neither http nor https"),
        ("--registry=a b", "'a b'"),
    ] {
        sandbox
            .udocker(["search", index, "x"])
            .run()
            .exits_with(2)
            .errs_in_one_line(&[part]);
    }
}

#[test]
fn an_index_that_refuses_a_search_is_quoted() {
    for (status, body, said) in [
        (
            403,
            "blocked by policy",
            "answered with status 403: blocked by policy",
        ),
        (401, "", "answered with status 401"),
        (
            200,
            "<html>Blocked</html>",
            "did not answer like a registry: a web page",
        ),
    ] {
        let index = FakeRegistry::start(move |_| Reply::new(status, body));
        let option = format!("--index={}", index.url());
        let ran = Sandbox::new().udocker(["search", &option, "x"]).run();
        ran.exits_with(1).errs_in_one_line(&[&index.url(), said]);
    }
}

/// Some registries send users of unknown pages to a login page, in a circle.
#[test]
fn a_redirect_in_a_circle_does_not_hide_the_catalogue() {
    let registry = FakeRegistry::start(|request| match request.path() {
        "/v2/_catalog" => Reply::new(200, r#"{"repositories":["lab/tool"]}"#),
        _ => Reply::new(302, "").header("Location", "/sso"),
    });
    let search = format!("{}/tool", registry.url());
    let ran = Sandbox::new().udocker(["-q", "search", &search]).run();
    let found = format!("{}/lab/tool ", registry.url());
    assert!(ran.succeeds().stdout.starts_with(&found));
}

/// A terminal of 6 lines has room for 4 results; the second page waits for the user.
#[test]
fn search_pages_results_on_a_terminal() {
    if !has_tools(&["script", "stty"]) {
        return;
    }
    let rows: Vec<_> = (0..9)
        .map(|number| json!({"repo_name": format!("row{number}")}))
        .collect();
    let answer = json!({"count": 9, "next": null, "results": rows}).to_string();
    let hub = FakeRegistry::start(move |_| Reply::new(200, answer.clone()));
    let sandbox = Sandbox::new();
    let count = |option: &str, typed: &str| {
        let command = format!(
            "stty rows 6 cols 200; exec bin/udocker search {option} --index={} row",
            hub.url()
        );
        let ran = sandbox
            .udocker([""; 0])
            .through(&[
                "sh",
                "-c",
                &format!(
                    "(sleep 1; printf '{typed}'; sleep 1) | script -qec '{command}' /dev/null"
                ),
            ])
            .run();
        ran.stdout.matches("row").count()
    };
    assert_eq!(count("", "q\\n"), 3);
    assert_eq!(count("", "\\nq\\n"), 7);
    assert_eq!(count("-a", ""), 9);
}

/// The resolver would panic.
#[test]
fn a_host_without_random_numbers_is_told_of() {
    let sandbox = Sandbox::new();
    let list = ["--allow-root", "search", "--list-tags", "h.invalid/tool"];
    let ran = sandbox
        .udocker(list)
        .run_confined("mount -t tmpfs tmpfs /dev");
    let Some(ran) = ran else { return };
    ran.exits_with(1)
        .errs_in_one_line(&["without random numbers"]);
}
