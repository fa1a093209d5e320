//! A canary in everything that is secret: it is in no file, no log and no answer that was not asked to reveal.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use oncue::Draft;
use oncue::seal::{FileKeys, KeySource};

use super::*;
use crate::runtime::company::{Company, show};

const CANARY: &str = "CanaryBird";

/// A secret.
#[derive(Serialize, Deserialize)]
struct Secret(String);

impl Task for Secret {
    const KIND: &'static str = "secret";
    const RETENTION: Duration = Duration::from_secs(600);
    const MAX_RETRY: u32 = 1;
    const RETRY: RetryPolicy = RetryPolicy::fixed(Duration::from_millis(1));
}

async fn secret(task: Secret) -> TaskResult<String> {
    match task.0.strip_prefix("fail") {
        Some(text) => Err(TaskError::new(text)),
        None => Ok(task.0),
    }
}

fn draft(text: &str) -> Draft<Secret> {
    let key = format!("key {CANARY} {text}");
    Secret(format!("{text}{CANARY}")).draft().key(key).header("name", format!("value {CANARY}"))
}

/// The files that hold the canary or a part of the key.
fn leaks(scene: &Scene, words: &[&str]) -> Vec<String> {
    let entries = fs::read_dir(scene.folder.path()).expect("folder");
    let paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    assert!(paths.iter().any(|path| path.ends_with("oncue.db-wal")), "{paths:?}");
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).expect("reads");
        words.iter().any(|word| bytes.windows(word.len()).any(|part| part == word.as_bytes()))
    };
    let named = paths.into_iter().filter(holds).map(|path| path.display().to_string());
    named.filter(|path| !path.ends_with(".key")).collect()
}

#[test]
fn a_secret_is_in_no_file_log_or_answer() {
    let scene = Scene::new();
    let company = Company::start(scene.client.clone(), |worker| worker.handle(secret));
    let (done, failed) = (company.put(draft("ok")), company.put(draft("fail")));
    company.settled(&done);
    company.until(|event| {
        let text = format!("{event:?}");
        assert!(!text.contains(CANARY), "{text}");
        text.contains("Archive").then_some(())
    });
    let views = [&done, &failed].map(|task| show(&scene.client, task).expect("kept"));
    let debug = format!("{views:?} {done:?} {:?}", scene.client.sealer());
    assert!(!debug.contains(CANARY), "{debug}");
    assert_eq!(scene.client.failure(&views[1]).as_deref(), Some(CANARY), "the control opens");

    let file = FileKeys(scene.folder.path().join("oncue.db.key"));
    let keys = file.load().expect("the key").to_text();
    let key = keys.lines().next().and_then(|line| line.rsplit(':').next()).expect("a key");
    assert_eq!(leaks(&scene, &[CANARY, key]), Vec::<String>::new());
    fs::write(scene.folder.path().join("control"), CANARY).expect("written");
    assert_eq!(leaks(&scene, &[CANARY, key]).len(), 1, "the control is found");

    let id = failed.id().to_string();
    let payload = format!("\"{CANARY}\"");
    let enqueue = ["task", "enqueue", "--kind", "k", "--payload", &payload, "--key", CANARY];
    let list = ["task", "list", "--queue", "default", "--state", "archived"];
    for args in [&enqueue[..], &list, &["task", "show", &id], &["queue", "list"], &["key", "check"]]
    {
        for more in [&["--json"][..], &["-vv"]] {
            let output = scene
                .oncue(args)
                .args(more)
                .env("RUST_LOG", "trace")
                .env("ONCUE_BROKER", "sqlite:oncue.db")
                .output()
                .expect("runs");
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            assert!(output.status.success(), "{args:?}: {text}");
            assert!(!text.contains(CANARY) && !text.contains(key), "{args:?}: {text}");
        }
    }
    let output = scene.oncue(&["task", "show", &id, "--reveal"]).output().expect("runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains(CANARY), "the control reveals");
    drop(company);
}

#[test]
fn no_umask_opens_a_file_to_others() {
    let scene = Scene::new();
    let mut command = std::process::Command::new("sh");
    let oncue = env!("CARGO_BIN_EXE_oncue");
    let script =
        format!("umask 0; '{oncue}' task enqueue --kind k --payload 1 --broker sqlite:mine.db");
    let status =
        command.args(["-c", &script]).current_dir(scene.folder.path()).env_remove("ONCUE_KEY");
    assert!(status.output().expect("runs").status.success());
    for entry in fs::read_dir(scene.folder.path()).expect("folder") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}
