//! An epoch: a subkey drawn from a key and a random salt, with a commitment to it.
//!
//! Deriving one costs ten times a seal, so a sealer keeps its own for 2^24 seals or one hour (which keeps
//! collisions of random nonces below 2^-49), and an opener keeps a bounded cache of those it met.
//! Every keyring has epochs of its own: a new keyring starts without any, so a retired or changed key
//! cannot live on in the cache.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::seal::blob::{Blob, SUITE};
use crate::seal::key::expand;
use crate::seal::keyring::Keyring;

pub(crate) const SALT_BYTES: usize = 16;
const COMMITMENT_BYTES: usize = 32;
const SUBKEY_BYTES: usize = 32;
/// Seals after which a sealer opens a new epoch.
const SEALS_MAX: u64 = 1 << 24;
/// Time after which a sealer opens a new epoch.
const AGE_MAX: Duration = Duration::from_secs(3600);
/// Epochs that an opener keeps, about 700 bytes each: those of as many sealing processes an hour.
const CACHE_MAX: usize = 256;

/// A subkey and what identifies it.
pub(crate) struct Epoch {
    key_id: u32,
    salt: [u8; SALT_BYTES],
    commitment: [u8; COMMITMENT_BYTES],
    aead: LessSafeKey,
}

impl Epoch {
    /// The epoch of a key's PRK under `salt`.
    pub(crate) fn derive(prk: &hkdf::Prk, key_id: u32, salt: [u8; SALT_BYTES]) -> Result<Self> {
        let info = [b"oncue/epoch/v1", &[SUITE][..], &key_id.to_be_bytes(), &salt];
        let mut both = Zeroizing::new([0; SUBKEY_BYTES + COMMITMENT_BYTES]);
        expand(prk, &info, &mut both[..])?;
        let (subkey, rest) = both.split_at(SUBKEY_BYTES);
        let mut commitment = [0; COMMITMENT_BYTES];
        commitment.copy_from_slice(rest);
        let unbound = UnboundKey::new(&AES_256_GCM, subkey)
            .map_err(|_| Error::system("AES-256-GCM refused a key"))?;
        Ok(Self { key_id, salt, commitment, aead: LessSafeKey::new(unbound) })
    }

    pub(crate) fn key_id(&self) -> u32 {
        self.key_id
    }

    pub(crate) fn salt(&self) -> &[u8; SALT_BYTES] {
        &self.salt
    }

    pub(crate) fn commitment(&self) -> &[u8; COMMITMENT_BYTES] {
        &self.commitment
    }

    pub(crate) fn aead(&self) -> &LessSafeKey {
        &self.aead
    }
}

/// Key id and salt: what a blob names its epoch by.
type Name = (u32, [u8; SALT_BYTES]);

/// The epoch a sealer is in.
struct Running {
    epoch: Arc<Epoch>,
    seals: u64,
    since: Instant,
}

/// The epochs of one keyring.
pub(crate) struct Epochs {
    keyring: Arc<Keyring>,
    running: Mutex<Option<Running>>,
    met: RwLock<HashMap<Name, Arc<Epoch>>>,
}

impl Epochs {
    pub(crate) fn new(keyring: Keyring) -> Self {
        let keyring = Arc::new(keyring);
        Self { keyring, running: Mutex::new(None), met: RwLock::new(HashMap::new()) }
    }

    pub(crate) fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// The epoch to seal the next `seals` blobs in.
    pub(crate) fn sealing(&self, random: &SystemRandom, seals: u64) -> Result<Arc<Epoch>> {
        self.sealing_at(Instant::now(), random, seals)
    }

    fn sealing_at(&self, now: Instant, random: &SystemRandom, seals: u64) -> Result<Arc<Epoch>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.as_mut()
            && running.seals + seals <= SEALS_MAX
            && now.saturating_duration_since(running.since) < AGE_MAX
        {
            running.seals += seals;
            return Ok(Arc::clone(&running.epoch));
        }
        let (id, prk) = self.keyring.sealing()?;
        let mut salt = [0; SALT_BYTES];
        random.fill(&mut salt).map_err(|_| no_random())?;
        let epoch = Arc::new(Epoch::derive(prk, id, salt)?);
        *running = Some(Running { epoch: Arc::clone(&epoch), seals, since: now });
        Ok(epoch)
    }

    /// The epoch that `blob` was sealed in, if the keyring may open it and has the same key.
    pub(crate) fn opening(&self, blob: &Blob<'_>) -> Result<Arc<Epoch>> {
        let prk = self.keyring.opening(blob.key_id)?;
        let name: Name = (blob.key_id, blob.salt);
        let met = self.met.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        let known = met.is_some();
        let epoch = match met {
            Some(epoch) => epoch,
            None => Arc::new(Epoch::derive(prk, blob.key_id, blob.salt)?),
        };
        if !bool::from(epoch.commitment[..].ct_eq(blob.commitment)) {
            return Err(Error::wrong_key(format!(
                "key {} here is not the key it was sealed with: same id, other bytes",
                blob.key_id
            )));
        }
        // Only what was committed to is kept, so invented salts do not push out real ones.
        if !known {
            let mut met = self.met.write().unwrap_or_else(PoisonError::into_inner);
            if met.len() >= CACHE_MAX
                && let Some(any) = met.keys().next().copied()
            {
                met.remove(&any);
            }
            met.insert(name, Arc::clone(&epoch));
        }
        Ok(epoch)
    }
}

pub(crate) fn no_random() -> Error {
    Error::system("the system's random generator does not answer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::seal::blob::{self, Purpose, Seat};
    use crate::task::TaskId;

    fn epochs() -> Epochs {
        Epochs::new(Keyring::generate().expect("keyring"))
    }

    #[test]
    fn an_epoch_ends_by_count_or_by_age() {
        let (epochs, random, now) = (epochs(), SystemRandom::new(), Instant::now());
        let salt = |now, seals| *epochs.sealing_at(now, &random, seals).expect("epoch").salt();
        let first = salt(now, 1);
        assert_eq!(salt(now, SEALS_MAX - 1), first);
        let second = salt(now, 1);
        assert_ne!(second, first);
        assert_eq!(salt(now + AGE_MAX - Duration::from_millis(1), 1), second);
        assert_ne!(salt(now + AGE_MAX, 1), second);
    }

    #[test]
    fn the_cache_is_bounded_and_takes_no_invented_salts() {
        let (epochs, random) = (epochs(), SystemRandom::new());
        let seat = Seat {
            purpose: Purpose::Result,
            task: TaskId::from_bytes([1; 16]),
            attempt: 1,
            header: b"",
        };
        for _ in 0..CACHE_MAX + 10 {
            let epoch = epochs.sealing(&random, SEALS_MAX).expect("epoch");
            let sealed =
                blob::seal(&epoch, [0; 12], "n", &seat, Codec::Json, &[b"x"], &mut Vec::new())
                    .expect("seals");
            let open = |bytes: &[u8]| {
                let blob = Blob::parse(bytes, seat.purpose)?;
                epochs.opening(&blob).map(|epoch| *epoch.salt())
            };
            assert_eq!(open(sealed.as_bytes()).expect("opens"), *epoch.salt());
            let before = epochs.met.read().expect("lock").len();
            let mut invented = sealed.as_bytes().to_vec();
            invented[8] ^= 1;
            assert!(open(&invented).expect_err("invented").is_wrong_key());
            assert_eq!(epochs.met.read().expect("lock").len(), before);
        }
        assert_eq!(epochs.met.read().expect("lock").len(), CACHE_MAX);
    }
}
