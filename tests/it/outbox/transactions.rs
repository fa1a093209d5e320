//! A task in the application's own transaction: there if and only if that commits.

use oncue::outbox::Outbox;
use oncue::{Task, TaskId};
use rusqlite::Connection;

use super::shop::{Shop, on_both, pending};
use crate::runtime::company::*;

#[test]
fn what_is_committed_is_enqueued_and_what_is_rolled_back_never_was() {
    on_both(|client| {
        let shop = Shop::new();
        let mut open = shop.open();
        let mut kept: Vec<TaskId> = Vec::new();
        for number in 0..6u64 {
            let mut tx = open.transaction().expect("begins");
            tx.execute("INSERT INTO orders VALUES (?1)", [number.cast_signed()]).expect("inserted");
            let first = client.enqueue_in(&tx, Number(number)).expect("written");
            let point = tx.savepoint().expect("begins");
            let second = client.enqueue_in(&point, Number(number + 100)).expect("written");
            if number % 3 == 0 {
                point.commit().expect("kept");
            } else {
                drop(point);
            }
            match number % 2 {
                0 => tx.commit().expect("committed"),
                _ => tx.rollback().expect("rolled back"),
            }
            kept.extend((number % 2 == 0).then_some(first));
            kept.extend((number == 0).then_some(second));
        }
        // A connection on its own is a commit each.
        kept.push(client.enqueue_in(&open, Number(6)).expect("written"));
        assert_eq!(pending(client, "default"), [], "no broker was asked");
        let moved = shop.relay_once(client).expect("handed over");
        assert_eq!((moved.handed, moved.refused, moved.waiting), (kept.len(), 0, 0));
        assert_eq!(pending(client, "default"), kept, "in the order of the commits");
        assert_eq!(shop.rows(), 0);
        assert_eq!(shop.relay_once(client).expect("nothing"), Default::default());
    });
}

#[test]
fn a_key_stands_once_in_the_outbox_and_in_the_broker() {
    on_both(|client| {
        let shop = Shop::new();
        let open = shop.open();
        let put = || client.enqueue_in(&open, Number(1).draft().key("order 1")).expect("written");
        let first = put();
        assert_eq!((put(), shop.rows()), (first, 1));
        shop.relay_once(client).expect("handed over");
        assert_eq!((put(), shop.rows()), (first, 1), "it went, and is written again");
        assert_eq!(shop.relay_once(client).expect("handed over").handed, 1);
        assert_eq!(pending(client, "default"), [first]);
    });
}

#[test]
fn a_database_without_an_outbox_is_told_so() {
    let (client, shop) = (client(), Shop::new());
    let bare = Connection::open_in_memory().expect("opens");
    let error = client.enqueue_in(&bare, Number(1)).expect_err("no table");
    assert!(error.is_not_found() && error.to_string().contains("Outbox::create"), "{error}");
    Outbox::create(&bare).expect("made");
    Outbox::create(&bare).expect("it is there already");
    assert!(client.enqueue_in(&bare, Number(1)).is_ok());

    let none = shop.path().with_file_name("none.db");
    assert!(Outbox::open(&none).expect_err("no file").is_not_found());
    assert!(!none.exists(), "it is not made");
    drop(Connection::open(&none).and_then(|it| it.execute_batch("CREATE TABLE x (y)")));
    let error = Outbox::open(&none).expect_err("no table");
    assert!(error.is_not_found() && error.to_string().contains("oncue_outbox"), "{error}");
}

#[test]
fn a_file_that_another_holds_is_told_so() {
    let (client, shop) = (client(), Shop::new());
    let holder = shop.open();
    holder.execute_batch("BEGIN IMMEDIATE").expect("held");
    let open = shop.open();
    open.busy_timeout(std::time::Duration::ZERO).expect("set");
    let error = client.enqueue_in(&open, Number(1)).expect_err("locked");
    assert!(error.is_unreachable() && error.to_string().contains("shop.db"), "{error}");
}
