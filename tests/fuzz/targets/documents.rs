//! Manifests, configurations, references, names and digests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use udocker::oci::{Digest, ImageConfig, LocalName, ParsedManifest, Reference, RegistryUrl};

fuzz_target!(|bytes: &[u8]| {
    let _ = ParsedManifest::parse(bytes, None);
    let _ = ImageConfig::parse(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = RegistryUrl::parse(text);
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(reference) = text.parse::<Reference>() {
        let shown = reference.to_string();
        assert_eq!(shown.parse::<Reference>().ok(), Some(reference));
    }
    if let Some(name) = LocalName::parse_lenient(text) {
        let shown = name.to_string();
        assert!(!shown.split('/').any(|part| part == ".."), "{shown}");
    }
});
