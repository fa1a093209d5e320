//! Where keyrings come from: files, commands, the environment, and what is refused on the way.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use oncue::Error;
use oncue::seal::{CommandKeys, EnvKeys, FileKeys, KEYRING_BYTES_MAX, KeySource, Keyring};

const TEXT: &str = "active:7:CanaryCanaryKeyCanaryCanaryKeyCanaryCanaryA=";

#[track_caller]
fn refused(source: &dyn KeySource, words: &[&str]) -> Error {
    let error = source.load().expect_err("loaded what it must not");
    let shown = format!("{error:?}");
    assert!(error.is_key(), "{shown}");
    for word in words {
        assert!(shown.contains(word), "{word:?} is not in {shown}");
    }
    assert!(!shown.contains("Canary"), "{shown}");
    error
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn a_key_file_is_whole_private_and_never_overwritten() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("app.key");
    let keyring = Keyring::generate().expect("keyring");
    FileKeys::create(&path, &keyring).expect("created");
    let meta = fs::metadata(&path).expect("there");
    assert_eq!(meta.permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1, "no draft stays behind");
    let loaded = FileKeys(path.clone()).load().expect("loads");
    assert_eq!(loaded.key_checks(), keyring.key_checks());
    assert_eq!(loaded.to_text(), keyring.to_text());

    let other = Keyring::generate().expect("keyring");
    let error = FileKeys::create(&path, &other).expect_err("exists");
    assert!(error.is_refused(), "{error:?}");
    assert_eq!(fs::read_to_string(&path).expect("reads"), *keyring.to_text());
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
    let dangling = folder.path().join("link.key");
    symlink(folder.path().join("nowhere"), &dangling).expect("link");
    assert!(FileKeys::create(&dangling, &other).expect_err("a link is there").is_refused());
    let lost = folder.path().join("no/such/folder.key");
    assert!(FileKeys::create(&lost, &other).expect_err("no folder").is_key());
    assert!(FileKeys::create("/", &other).expect_err("no name").is_invalid());
}

#[test]
fn a_key_file_that_others_read_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("app.key");
    fs::write(&path, TEXT).expect("written");
    let source = FileKeys(path.clone());
    for bits in [0o644, 0o640, 0o604, 0o620, 0o601, 0o610, 0o700, 0o4600] {
        mode(&path, bits);
        let fix = format!("chmod 600 {}", path.display());
        refused(&source, &[&format!("mode {bits:04o}"), &fix]);
    }
    for bits in [0o600, 0o400] {
        mode(&path, bits);
        assert_eq!(source.load().expect("private").active_id(), Some(7));
    }
}

#[test]
fn what_is_no_key_file_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("app.key");
    refused(&FileKeys(path.clone()), &["app.key", "oncue key generate"]);
    refused(&FileKeys(folder.path().to_owned()), &["is not a file"]);
    for (bytes, words) in [
        (b"\xff\xfe".to_vec(), "is not the text of a keyring"),
        (vec![b'#'; KEYRING_BYTES_MAX + 1], "at most 65536 bytes"),
        (TEXT.replace("active", "actve").into_bytes(), "did you mean \"active\"?"),
    ] {
        fs::write(&path, bytes).expect("written");
        mode(&path, 0o600);
        refused(&FileKeys(path.clone()), &["app.key", words]);
    }
}

fn shell(script: &str) -> CommandKeys {
    CommandKeys(["sh", "-c", script].map(str::to_owned).to_vec())
}

#[test]
fn a_key_command_is_bounded_and_not_quoted() {
    assert_eq!(shell(&format!("echo {TEXT}")).load().expect("loads").active_id(), Some(7));
    refused(&shell(&format!("echo {TEXT}; exit 3")), &["\"sh\" failed", "3"]);
    refused(&shell(&format!("echo {TEXT}; kill -9 $$")), &["failed", "signal"]);
    refused(&shell("while echo CanaryCanaryCanary; do :; done"), &["more than 65536 bytes"]);
    refused(&shell(""), &["the keyring is empty"]);
    refused(&shell("echo Canary:1"), &["entry 1"]);
    refused(&CommandKeys(Vec::new()), &["is empty"]);
    refused(&CommandKeys(vec!["/no/such/program".into()]), &["/no/such/program", "cannot be run"]);
    let shown = format!("{:?}", shell("vault --token=Canary"));
    assert_eq!(shown, "CommandKeys { Some(\"sh\"), arguments: 2 }");
}

#[test]
fn the_environment_is_read() {
    const NAME: &str = "ONCUE_TEST_KEYS";
    match std::env::var_os(NAME) {
        // A test may not set its own environment, so it runs itself with another.
        None => {
            refused(&EnvKeys(NAME.into()), &[NAME, "is not set", "oncue key generate"]);
            refused(&EnvKeys("PATH".into()), &["PATH", "entry 1"]);
            let status = Command::new(std::env::current_exe().expect("this test"))
                .args(["--exact", "keys::the_environment_is_read"])
                .env(NAME, TEXT)
                .status()
                .expect("runs");
            assert!(status.success());
        }
        Some(_) => assert_eq!(EnvKeys(NAME.into()).load().expect("loads").active_id(), Some(7)),
    }
}
