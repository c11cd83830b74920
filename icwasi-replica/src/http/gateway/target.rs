//! Which canister an HTTP request is for.

use axum::http::{HeaderMap, Uri, header};
use candid::Principal;

/// The canister of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub id: Principal,
    /// The response is passed on as it is, not verified: `<canister-id>.raw.<domain>`.
    pub raw: bool,
}

/// Looks in this order: `<canister-id>.<domain>` and `<canister-id>.raw.<domain>` in the host, then
/// `?canisterId=` in the URL, then in the page that refers to it, so that relative links work on
/// pages that were found by such a parameter.
pub fn find(uri: &Uri, headers: &HeaderMap) -> Option<Target> {
    let host = uri.host().or_else(|| text(headers, header::HOST));
    if let Some(target) = host.and_then(in_host) {
        return Some(target);
    }
    let referring = || -> Option<Principal> {
        let referer: Uri = text(headers, header::REFERER)?.parse().ok()?;
        in_query(referer.query()?)
    };
    let id = uri.query().and_then(in_query).or_else(referring)?;
    Some(Target { id, raw: false })
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn in_host(host: &str) -> Option<Target> {
    let (first, domain) = host.split_once('.')?;
    let id = Principal::from_text(first).ok()?;
    let raw = domain.starts_with("raw.");
    Some(Target { id, raw })
}

fn in_query(query: &str) -> Option<Principal> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == "canisterId")
        .and_then(|(_, id)| Principal::from_text(id).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "bkyz2-fmaaa-aaaaa-qaaaq-cai";

    fn target(host: &str, uri: &str, referer: Option<&str>) -> Option<(String, bool)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a header value"));
        if let Some(referer) = referer {
            headers.insert(header::REFERER, referer.parse().expect("a header value"));
        }
        let found = find(&uri.parse().expect("a URI"), &headers)?;
        Some((found.id.to_text(), found.raw))
    }

    #[test]
    fn the_host_comes_first_then_the_parameter_then_the_referring_page() {
        let found = |raw| Some((ID.to_string(), raw));
        assert_eq!(
            target(&format!("{ID}.localhost:80"), "/", None),
            found(false)
        );
        assert_eq!(
            target(&format!("{ID}.raw.localhost"), "/", None),
            found(true)
        );
        let other = "/?canisterId=aaaaa-aa";
        assert_eq!(
            target(&format!("{ID}.localhost"), other, None),
            found(false)
        );
        let uri = format!("/a.css?x=1&canisterId={ID}");
        assert_eq!(target("127.0.0.1:80", &uri, None), found(false));
        let page = format!("http://127.0.0.1:80/?canisterId={ID}");
        assert_eq!(target("127.0.0.1:80", "/a.css", Some(&page)), found(false));
        assert_eq!(target("localhost", "/", None), None);
        assert_eq!(target("no-id.localhost", "/?canisterId=no-id", None), None);
    }
}
