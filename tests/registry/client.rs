//! Clients and descriptors for tests.

use std::io::{self, Read};
use std::time::Duration;

use udocker::oci::{
    Credential, Descriptor, Digest, FoundCredential, MediaType, RegistryUrl, Secret,
};
use udocker::progress::Silent;
use udocker::registry::{BlobSink, Client, ClientOptions, RegistryError, RetryPolicy};

/// Options with short pauses.
pub(crate) fn options() -> ClientOptions {
    ClientOptions {
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(10),
        download_timeout: Duration::from_secs(10),
        retry: RetryPolicy {
            retries: 3,
            first_delay: Duration::from_millis(5),
            max_delay: Duration::from_secs(2),
        },
        ..ClientOptions::default()
    }
}

/// A client without logins.
pub(crate) fn anonymous() -> Client {
    Client::new(options(), udocker::registry::NoCredentials).unwrap()
}

/// A client that always has this login.
pub(crate) fn with_login(username: &str, password: &str) -> Client {
    with_credential(
        options(),
        Credential::Basic {
            username: username.to_string(),
            password: Secret::new(password),
        },
    )
}

pub(crate) fn with_credential(options: ClientOptions, credential: Credential) -> Client {
    let found = FoundCredential {
        credential,
        origin: "a test".to_string(),
    };
    Client::new(options, move |_: &RegistryUrl, _: &str| {
        Ok(Some(found.clone()))
    })
    .unwrap()
}

pub(crate) fn registry(url: &str) -> RegistryUrl {
    RegistryUrl::parse(url).unwrap()
}

/// The descriptor of `bytes`.
pub(crate) fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: MediaType::Other("application/octet-stream".to_string()),
        digest: Digest::of(bytes),
        size: Some(bytes.len() as u64),
        urls: Vec::new(),
    }
}

/// Fetches a blob into memory, beginning with what is in `kept`.
pub(crate) fn fetch(
    client: &Client,
    url: &str,
    descriptor: &Descriptor,
    kept: &[u8],
) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = kept.to_vec();
    client.fetch_blob(&registry(url), "lab/tool", descriptor, &mut bytes, &Silent)?;
    Ok(bytes)
}

/// A sink on a full disk.
pub(crate) struct FullDisk;

impl BlobSink for FullDisk {
    fn existing(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(io::empty()))
    }

    fn write(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn restart(&mut self) -> io::Result<()> {
        Ok(())
    }
}
