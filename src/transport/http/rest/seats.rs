//! `/api/v2/seats`: the people of the account.

use axum::response::Response;
use http::Method;
use serde_json::Map;

use crate::{
    domain::{audit::Action, scope::Scope},
    service::Code,
    transport::{
        http::{
            answer::Problem,
            door::Call,
            query,
            routes::{Answer, Doc, InPath, Input, Route, Run, Takes},
        },
        wire::{
            ListSeatsInput, OK, Seat, SeatCountInput, SeatCountResponse, SeatRetrieveResponse, input_schema,
            output_schema,
        },
    },
};

const SEAT_ID: InPath = InPath {
    name: "seat_id",
    about: "The seat's id, or the user's id at the identity provider (`auth_subject`).",
    is_uuid: false,
};

pub(in crate::transport::http) static ROUTES: [Route; 3] = [
    Route {
        method: Method::GET,
        path: "/api/v2/seats",
        action: Action::Call,
        takes: Takes::Moment,
        run: Run::Keyed(|call, _| Box::pin(list(call))),
        doc: Some(Doc {
            id: "listSeats",
            tag: "Seats",
            summary: "List seats",
            description: "The seats of the account, oldest first; with `email`, the one with exactly that address. To a \
                          key that is bound to a seat there is that one.",
            scope: Some(Scope::SeatsRead),
            in_path: None,
            input: Input::Query(input_schema::<ListSeatsInput>),
            answer: Answer::json("The seats: a bare array.", output_schema::<Vec<Seat>>),
            refusals: &[],
        }),
    },
    Route {
        method: Method::GET,
        path: "/api/v2/seats/count",
        action: Action::Call,
        takes: Takes::Moment,
        run: Run::Keyed(|call, _| Box::pin(count(call))),
        doc: Some(Doc {
            id: "countSeats",
            tag: "Seats",
            summary: "Count seats",
            description: "How many seats the account has; with `email`, how many have exactly that address.",
            scope: Some(Scope::SeatsRead),
            in_path: None,
            input: Input::Query(input_schema::<SeatCountInput>),
            answer: Answer::json("The number.", output_schema::<SeatCountResponse>),
            refusals: &[],
        }),
    },
    Route {
        method: Method::GET,
        path: "/api/v2/seats/{seat_id}",
        action: Action::Call,
        takes: Takes::Moment,
        run: Run::Keyed(|call, _| Box::pin(get(call))),
        doc: Some(Doc {
            id: "getSeat",
            tag: "Seats",
            summary: "Get a seat",
            description: "One seat, by its id or by its `auth_subject`.",
            scope: Some(Scope::SeatsRead),
            in_path: Some(SEAT_ID),
            input: Input::Nothing,
            answer: Answer::json("The seat.", output_schema::<SeatRetrieveResponse>),
            refusals: &[Code::NotFound],
        }),
    },
];

async fn list(call: Call<'_>) -> Result<Response, Problem> {
    let read = query::read::<ListSeatsInput>(call.parts.uri.query(), Map::new());
    let query = call.or_note(read.and_then(|input| input.to_query())).await?;
    let seats = call.app.service.list_seats(&call.caller, &query).await?;
    let account = call.app.account_name(call.caller.account()).await?;
    let seats: Vec<_> = seats.iter().map(|seat| Seat::of(seat, &account)).collect();
    call.answer(&seats)
}

async fn count(call: Call<'_>) -> Result<Response, Problem> {
    let input = call.or_note(query::read::<SeatCountInput>(call.parts.uri.query(), Map::new())).await?;
    let count = call.app.service.count_seats(&call.caller, input.email.as_deref()).await?;
    call.answer(&SeatCountResponse { count })
}

async fn get(call: Call<'_>) -> Result<Response, Problem> {
    call.takes_no_query().await?;
    let seat = call.app.service.get_seat(&call.caller, &call.named).await?;
    let account = call.app.account_name(call.caller.account()).await?;
    call.answer(&SeatRetrieveResponse { seat: Seat::of(&seat, &account), status: OK })
}
