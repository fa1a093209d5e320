//! The outbox: parcels, an application's own transactions, relays to either broker, and the recipe for Postgres.

mod hand_over;
mod parcels;
mod postgres;
mod relaying;
mod shop;
mod transactions;
