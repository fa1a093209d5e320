//! What proves who we are changes under a running worker, without a restart: the password in its file, our
//! certificate, the authority that is trusted. A control before each change: what was not changed is refused.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use oncue::Client;
use oncue::broker::redis::{FilePassword, Options};

use super::company::{Producer, Shop, completed};
use super::site::eventually;
use super::tls::Pem;
use crate::redis_servers::server::Server;
use crate::redis_servers::setup::{ClientCertificates, Setup};
use crate::redis_servers::tls::{Authority, Identity};

const WORK: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(2);

fn traffic(shop: &Shop) {
    let settled = shop.told.settled();
    eventually("traffic", || shop.told.settled() > settled + 30);
}

fn nothing_is_lost(shop: &Shop, client: &Client, producer: Producer) {
    let acked = producer.end();
    shop.drained(client);
    let done = completed(client);
    assert!(done == acked || done == acked + 1, "{acked} acknowledged, {done} completed");
    println!("{acked} acknowledged, 0 lost; {:?}", shop.told);
}

/// Ends the connections of a user; answers how many there were.
fn cut(server: &Server, user: &str) -> u64 {
    server.ask(&["CLIENT", "KILL", "USER", user])
}

#[test]
fn a_password_that_changes_in_its_file_is_found() {
    let users = "user default on nopass ~* &* +@all\nuser worker on >old ~* &* +@all";
    let server = Setup::default().acl(users).start();
    let folder = tempfile::tempdir().expect("a folder");
    let file: PathBuf = folder.path().join("password");
    let write = |password: &str| {
        // In one step, as whoever rotates secrets does: nobody reads half of it.
        let new = folder.path().join("new");
        std::fs::write(&new, password).expect("written");
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o600)).expect("ours alone");
        std::fs::rename(&new, &file).expect("in its place");
    };
    write("old\n");
    let shop = Shop::at(&server.url());
    let client = shop.client();
    let options = Options::parse(&format!("{}?user=worker&timeout=2s", server.url()));
    let options = options.expect("a URL").credentials(FilePassword(file.clone()));
    let worker = shop.worker_of(shop.client_of(options), WORK, |builder| builder);
    let producer = shop.producer(PAUSE);
    traffic(&shop);

    // As docs/redis.md tells: both are good, the file changes, the old one goes, and with it who logged in by it.
    server.cli(&["ACL", "SETUSER", "worker", ">new"]);
    write("new\n");
    server.cli(&["ACL", "SETUSER", "worker", "<old"]);
    assert!(cut(&server, "worker") > 0);
    traffic(&shop);
    assert_eq!(
        shop.told.why.lock().expect("whole").iter().find(|why| why.contains("refuses")),
        None
    );

    // A control: with a file that was forgotten it is refused, aloud, until the file is changed.
    server.cli(&["ACL", "SETUSER", "worker", ">newer", "<new"]);
    assert!(cut(&server, "worker") > 0);
    shop.told.until_failed("Redis refuses this user and password");
    write("newer\n");
    traffic(&shop);
    nothing_is_lost(&shop, &client, producer);
    worker.end();
}

/// From now on the server shows this certificate, and trusts clients of this authority.
fn renew(server: &Server, identity: &Identity, authority: &Authority) {
    for (name, text) in [
        ("server.pem", identity.certificate.as_str()),
        ("server.key", &identity.key),
        ("authority.pem", authority.certificate()),
    ] {
        std::fs::write(server.file(name), text).expect("written");
    }
    // Read anew, though the names are the same.
    let words = ["CONFIG", "SET", "tls-cert-file", "server.pem", "tls-key-file", "server.key"];
    server.cli(&[&words[..], &["tls-ca-cert-file", "authority.pem"]].concat());
}

#[test]
fn certificates_and_authorities_that_change_in_their_files_are_found() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let required = ClientCertificates::Required;
    let server = Setup::default().tls(first.server(), first.certificate(), required).start();
    let files = Pem::new(&first, Some(&first.client("worker")));
    // Who is not tested comes by the socket.
    let socket = format!("unix://{}", server.socket().display());
    let shop = Shop::at(&socket);
    let client = shop.client();
    let worker = shop.worker_of(shop.client_by(&files.url(&server.url())), WORK, |builder| builder);
    let producer = shop.producer(PAUSE);
    traffic(&shop);

    // Both sides change while connections live, and then those end.
    renew(&server, &second.server(), &second);
    files.trust(&second);
    files.show(&second.client("worker"));
    assert!(cut(&server, "default") > 0);
    traffic(&shop);

    // A control: with files that were forgotten it is refused, aloud, until they change.
    renew(&server, &first.server(), &first);
    assert!(cut(&server, "default") > 0);
    shop.told.until_failed("the certificate of Redis is not trusted");
    files.trust(&first);
    files.show(&first.client("worker"));
    traffic(&shop);
    nothing_is_lost(&shop, &client, producer);
    worker.end();
}
