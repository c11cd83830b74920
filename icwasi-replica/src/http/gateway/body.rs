//! Contents that do not fit into one answer of a canister.

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use candid::{Func, Principal};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};

use super::canister::{self, CallbackStrategy, CanisterRequest, CanisterResponse, Token};
use super::verify;
use super::{AppState, HttpError};

/// Parts that are put together to be verified as one. Longer contents are passed on unverified,
/// as the gateways of the IC do.
const VERIFIED_PARTS: usize = 4;
/// Most parts of a content.
const MAX_PARTS: usize = 1_000;

/// What the callback gave.
pub enum Collected {
    /// All of it.
    Whole(Vec<u8>),
    /// Its beginning; the rest follows.
    Streamed(Body),
}

/// Fetches the rest of a content that begins with `first`.
pub async fn collect(
    app: &AppState,
    first: Vec<u8>,
    strategy: CallbackStrategy,
) -> Result<Collected, HttpError> {
    let callback = strategy.callback.0;
    let mut content = first;
    let mut next = Some(strategy.token);
    for _ in 0..VERIFIED_PARTS {
        let Some(token) = next else { break };
        let (part, token) = canister::next_part(app, &callback, token).await?;
        content.extend(part);
        next = token;
    }
    if next.is_none() {
        return Ok(Collected::Whole(content));
    }
    let begin = stream::iter([Ok(Bytes::from(content))]);
    let rest = parts(app.clone(), callback, next).take(MAX_PARTS);
    Ok(Collected::Streamed(Body::from_stream(begin.chain(rest))))
}

fn parts(
    app: AppState,
    callback: Func,
    token: Option<Token>,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    stream::try_unfold(token, move |token| {
        let (app, callback) = (app.clone(), callback.clone());
        async move {
            let Some(token) = token else { return Ok(None) };
            let (part, next) = canister::next_part(&app, &callback, token)
                .await
                .map_err(cut)?;
            Ok(Some((Bytes::from(part), next)))
        }
    })
}

/// The part of a content that a `Content-Range` header names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    first: usize,
    last: usize,
    total: usize,
}

impl Range {
    /// Of a response; `None` if it has none that makes sense.
    pub fn of(response: &CanisterResponse) -> Option<Self> {
        let (_, value) = response
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(header::CONTENT_RANGE.as_str()))?;
        let (part, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = part.split_once('-')?;
        let range = Self {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            total: total.parse().ok()?,
        };
        let fits = range.first <= range.last && range.last < range.total;
        fits.then_some(range)
    }
}

/// The whole of a content of which the canister gave the first range (though not asked for
/// ranges), and its length. Each further range is asked for and, unless `raw`, verified.
pub fn ranges(
    app: AppState,
    id: Principal,
    request: CanisterRequest,
    first: CanisterResponse,
    raw: bool,
) -> Result<(Body, usize), HttpError> {
    let bad = || {
        HttpError::new(
            StatusCode::BAD_GATEWAY,
            "the canister gave a part of the content without saying which",
        )
    };
    let range = Range::of(&first).ok_or_else(bad)?;
    if range.first != 0 || first.body.len() != range.last + 1 {
        return Err(bad());
    }
    let (begin, total) = (first.body.len(), range.total);
    let rest = stream::try_unfold(begin, move |at| {
        let (app, request) = (app.clone(), request.clone());
        async move {
            if at >= total {
                return Ok(None);
            }
            let part = one_range(&app, id, request, at, total, raw)
                .await
                .map_err(cut)?;
            let end = at + part.len();
            Ok::<_, std::io::Error>(Some((part, end)))
        }
    });
    let begin = stream::iter([Ok(Bytes::from(first.body))]);
    let all = begin.chain(rest.take(MAX_PARTS)).into_stream();
    Ok((Body::from_stream(all), total))
}

/// What lies from `at` on.
async fn one_range(
    app: &AppState,
    id: Principal,
    mut request: CanisterRequest,
    at: usize,
    total: usize,
    raw: bool,
) -> Result<Bytes, HttpError> {
    request
        .headers
        .push((header::RANGE.to_string(), format!("bytes={at}-")));
    let part = canister::ask(app, id, &request).await?;
    let range = Range::of(&part)
        .filter(|range| range.total == total && range.first <= at && range.last >= at)
        .filter(|range| part.body.len() == range.last - range.first + 1)
        .ok_or_else(|| {
            HttpError::new(
                StatusCode::BAD_GATEWAY,
                format!("the canister did not give the range from {at}"),
            )
        })?;
    if part.streaming_strategy.is_some() {
        return Err(HttpError::new(
            StatusCode::BAD_GATEWAY,
            "the canister streams a range",
        ));
    }
    if !raw {
        verify::verify(app, id, &request, &part).await?;
    }
    Ok(Bytes::from(part.body).slice(at - range.first..))
}

/// Ends a body that has begun: the client sees that it is not complete.
fn cut(error: HttpError) -> std::io::Error {
    tracing::warn!("a streamed response was cut: {}", error.text());
    std::io::Error::other(error.text().to_string())
}
