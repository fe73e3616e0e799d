//! Commands run in bounded memory, whatever the size of layers, documents and answers.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use flate2::write::GzEncoder;
use lzma_rust2::{XzOptions, XzWriter};
use serde_json::json;
use udocker::oci::Digest;

use crate::support::archives::DockerArchive;
use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::image::{ImageBuilder, Packing};
use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::support::registry_server::RegistryServer;
use crate::support::requirement::has_tools;
use crate::support::sandbox::{Invocation, Ran, Sandbox};

const LIMIT_KIB: u64 = 64 * 1024;
const FILE_BYTES: u64 = 300 << 20;

/// Writes a root file system of one large file that does not compress.
fn write_tree(path: &Path) {
    let mut tar = tar::Builder::new(BufWriter::new(File::create(path).unwrap()));
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(FILE_BYTES);
    tar.append_data(&mut header, "large", Noise(1).take(FILE_BYTES))
        .unwrap();
    tar.into_inner().unwrap().flush().unwrap();
}

/// Incompressible bytes, the same in each run.
struct Noise(u64);

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for chunk in buffer.chunks_mut(8) {
            // Marsaglia's xorshift.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
        Ok(buffer.len())
    }
}

/// Writes a Docker archive of one layer with a known digest.
fn write_archive(path: &Path, layer: &Path, diff_id: &Digest) {
    let config = json!({"os": "linux", "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [diff_id]}})
    .to_string();
    let config_name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let manifest =
        json!([{"Config": config_name, "RepoTags": ["lab/large:1"], "Layers": ["l/layer.tar"]}]);
    let mut tar = tar::Builder::new(BufWriter::new(File::create(path).unwrap()));
    let mut add = |name: &str, source: &mut dyn Read, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(size);
        tar.append_data(&mut header, name, source).unwrap();
    };
    let size = layer.metadata().unwrap().len();
    add("l/layer.tar", &mut File::open(layer).unwrap(), size);
    add(&config_name, &mut config.as_bytes(), config.len() as u64);
    let manifest = manifest.to_string();
    add(
        "manifest.json",
        &mut manifest.as_bytes(),
        manifest.len() as u64,
    );
    tar.into_inner().unwrap().flush().unwrap();
}

/// A sandbox with the container `c`.
fn with_container() -> Sandbox {
    let sandbox = Sandbox::new();
    let tree = LayerBuilder::new().file("a", "b").finish();
    let import = ["import", "--tocontainer", "--name=c", "-"];
    sandbox.udocker(import).stdin(tree).run().succeeds();
    sandbox
}

/// Runs the program, and asserts that its peak memory stays below the limit.
#[track_caller]
fn stays_small(invocation: Invocation) -> Ran {
    let ran = invocation.through(&["/usr/bin/time", "-f", "%M"]).run();
    let peak: u64 = ran.stderr.lines().last().unwrap().trim().parse().unwrap();
    assert!(peak < LIMIT_KIB, "{peak} KiB: {ran:#?}");
    ran
}

#[test]
fn memory_use_is_independent_of_layer_size() {
    if !has_tools(&["time"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let tree = sandbox.path("tree.tar");
    write_tree(&tree);
    let digest = {
        let source = File::open(&tree).unwrap();
        let hashing = udocker::stream::HashingReader::new(source, udocker::oci::Algorithm::Sha256);
        hashing.finish().unwrap().0
    };
    write_archive(&sandbox.path("archive.tar"), &tree, &digest);
    stays_small(sandbox.udocker(["load", "-i", "archive.tar"])).succeeds();
    std::fs::remove_file(sandbox.path("archive.tar")).unwrap();
    stays_small(sandbox.udocker(["save", "-o", "saved.tar", "lab/large:1"])).succeeds();
    std::fs::remove_file(sandbox.path("saved.tar")).unwrap();
    stays_small(sandbox.udocker(["import", "--tocontainer", "--name=a", "tree.tar"])).succeeds();
    stays_small(sandbox.udocker(["import", "--mv", "tree.tar", "lab/imported"])).succeeds();
    stays_small(sandbox.udocker(["clone", "--name=b", "a"])).succeeds();
    stays_small(sandbox.udocker(["export", "-o", "exported.tar", "a"])).succeeds();
}

#[test]
fn memory_use_is_independent_of_the_attributes_log() {
    if !has_tools(&["time"]) {
        return;
    }
    let sandbox = with_container();
    let line = b"7 1700000000.000000001 1 2 100600 100600 0\n";
    let log = [&line.repeat(1 << 21)[..], &vec![b'x'; 80 << 20]].concat();
    std::fs::write(sandbox.store().join("containers/c/attributes"), log).unwrap();
    stays_small(sandbox.udocker(["export", "-o", "exported.tar", "c"])).succeeds();
    stays_small(sandbox.udocker(["clone", "c"])).succeeds();
}

#[test]
fn attributes_of_a_million_files_fit_into_the_memory() {
    if !has_tools(&["time"]) {
        return;
    }
    let sandbox = with_container();
    let path = sandbox.store().join("containers/c/attributes");
    let mut log = BufWriter::new(File::create(path).unwrap());
    for inode in 0..1_000_000 {
        writeln!(
            log,
            "{inode} 1700000000.123456789 1000 1000 100600 100600 0"
        )
        .unwrap();
    }
    log.flush().unwrap();
    stays_small(sandbox.udocker(["export", "-o", "exported.tar", "c"])).succeeds();
    stays_small(sandbox.udocker(["clone", "c"])).succeeds();
}

#[test]
fn memory_use_is_independent_of_passwd_and_group_size() {
    if !has_tools(&["time"]) {
        return;
    }
    let sandbox = with_container();
    let root = sandbox.store().join("containers/c/ROOT");
    std::fs::create_dir(root.join("etc")).unwrap();
    for name in ["passwd", "group"] {
        std::fs::write(root.join("etc").join(name), vec![0xff; 16 << 20]).unwrap();
    }
    stays_small(sandbox.udocker(["run", "--user=new", "c", "none"])).exits_with(127);
}

/// Writes a gzip archive of repetitive entries, which compress well.
struct Bomb(GzEncoder<BufWriter<File>>);

impl Bomb {
    fn new(path: &Path) -> Bomb {
        let file = BufWriter::new(File::create(path).unwrap());
        Bomb(GzEncoder::new(file, flate2::Compression::fast()))
    }

    fn entry(mut self, entry: TarEntry) -> Bomb {
        self.0.write_all(&entries(entry)).unwrap();
        self
    }

    /// Writes zeros, which also end an archive.
    fn zeros(mut self, count: u64) -> Bomb {
        std::io::copy(&mut std::io::repeat(0).take(count), &mut self.0).unwrap();
        self
    }

    fn finish(self) {
        let mut file = self.zeros(1024).0.finish().unwrap();
        file.flush().unwrap();
    }
}

/// One entry with its extension headers, without the end of the archive.
fn entries(entry: TarEntry) -> Vec<u8> {
    let mut bytes = LayerBuilder::new().entry(entry).finish();
    bytes.truncate(bytes.len() - 1024);
    bytes
}

#[test]
fn oversized_tar_headers_do_not_exhaust_memory() {
    if !has_tools(&["time"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let bomb = || Bomb::new(&sandbox.path("bomb.tgz"));
    let import = || stays_small(sandbox.udocker(["import", "--tocontainer", "bomb.tgz"]));
    let long = 200 << 20;
    for flag in *b"LKx" {
        let endless = bomb().entry(TarEntry::new(flag, "endless").declared_size(long));
        endless.zeros(long).finish();
        let ran = stays_small(sandbox.udocker(["load", "-i", "bomb.tgz"])).exits_with(1);
        let part = "the header of a member is larger than 1048576 bytes";
        assert!(ran.stderr.contains(part), "{ran:#?}");
        let ran = import().exits_with(1);
        let part = "a header extension of 209715200 bytes, at most 1048576 are read";
        assert!(ran.stderr.contains(part), "{ran:#?}");
    }

    let mut attributes = bomb();
    for file in 0..300 {
        let mut entry = TarEntry::new(b'0', format!("{file}"));
        for name in 0..17 {
            let name = format!("SCHILY.xattr.user.{name}");
            entry = entry.pax(&name, [b'v'; 60_000]);
        }
        attributes = attributes.entry(entry);
    }
    attributes.finish();
    import().succeeds();

    // Each link is another path to the same directory.
    let deep = ["d".repeat(250).as_str(); 200].join("/");
    let mut links = bomb().entry(TarEntry::new(b'5', &deep));
    for number in 0..1200 {
        let link = TarEntry::new(b'2', format!("l{number}")).link(".");
        let file = TarEntry::new(b'0', format!("l{number}/{deep}/{number}"));
        links = links.entry(link).entry(file);
    }
    links.finish();
    import().succeeds();
}

/// A JSON list that would take a hundred times its size in memory if it were parsed into values.
fn small_objects() -> String {
    format!("[{}0]", r#"{"":0},"#.repeat(590_000))
}

#[test]
fn unused_members_of_json_documents_take_no_memory() {
    if !has_tools(&["time"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let blob = |bytes: &str| {
        let digest = Digest::of(bytes.as_bytes());
        sandbox.write(&format!("layout/blobs/sha256/{}", digest.hex()), bytes);
        json!({"digest": digest, "size": bytes.len()})
    };
    let config = |more: &str| format!(r#"{{"os": "linux", "more": {more}}}"#);
    let manifest = |config: &str, more: &str| {
        let config = blob(config);
        format!(r#"{{"config": {config}, "layers": [], "more": {more}}}"#)
    };
    for manifest in [
        manifest(&config("0"), &small_objects()),
        manifest(&config(&small_objects()), "0"),
    ] {
        let index = json!({"manifests": [blob(&manifest)]}).to_string();
        sandbox.write("layout/index.json", index);
        let ran = stays_small(sandbox.udocker(["-q", "load", "-i", "layout"])).succeeds();
        let name = ran.text().to_string();
        stays_small(sandbox.udocker(["create", &name])).succeeds();
        stays_small(sandbox.udocker(["inspect", &name])).succeeds();
        stays_small(sandbox.udocker(["save", "-o", "saved.tar", &name])).succeeds();
        std::fs::remove_file(sandbox.path("saved.tar")).unwrap();
    }

    // A configuration whose diff_ids have to be replaced.
    let layer = LayerBuilder::new().file("a", "b").finish();
    let layer = zstd::encode_all(&layer[..], 1).unwrap();
    let digest = Digest::of(&layer);
    let more = small_objects();
    let config = format!(r#"{{"rootfs": {{"diff_ids": ["{digest}"]}}, "more": {more}}}"#);
    let images = json!([{"Config": "config.json", "RepoTags": ["lab/old:1"], "Layers": ["layer"]}]);
    let archive = LayerBuilder::new()
        .file("layer", layer)
        .file("config.json", config)
        .file("manifest.json", images.to_string())
        .finish();
    sandbox.write("archive.tar", archive);
    stays_small(sandbox.udocker(["load", "-i", "archive.tar"])).succeeds();
}

#[test]
fn inspect_prints_large_documents_in_bounded_memory() {
    if !has_tools(&["time"]) {
        return;
    }
    let sandbox = with_container();
    let config = sandbox.store().join("containers/c/container.json");
    let members = r#""\n":0,"#.repeat(590_000);
    for (document, printed) in [
        (
            format!(r#"{{"more":{}}}"#, small_objects()),
            r#"            "": 0"#,
        ),
        (format!(r#"{{{members}"":1}}"#), r#"    "\n": 0"#),
        (format!("[{}0]", "[],".repeat(1_390_000)), "    0"),
    ] {
        std::fs::write(&config, &document).unwrap();
        let registry = FakeRegistry::start(move |_| Reply::new(200, document.clone()));
        let image = format!("{}/lab/tool:1", registry.url());
        for args in [&["inspect", "c"][..], &["manifest", "inspect", &image]] {
            let ran = stays_small(sandbox.udocker(args)).succeeds();
            assert!(ran.stdout.lines().any(|line| line == printed));
        }
    }
}

#[test]
fn load_lists_large_archives_in_bounded_memory() {
    if !has_tools(&["time"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let layer = LayerBuilder::new().file("a", "b").finish();
    let refused = |tar: LayerBuilder, part: &str| {
        sandbox.write("archive.tar", tar.finish());
        let ran = stays_small(sandbox.udocker(["load", "-i", "archive.tar"])).exits_with(1);
        assert!(ran.stderr.contains(part), "{ran:#?}");
    };
    let with_list = |tar: LayerBuilder, names: &str, layers: &str| {
        let list = format!(r#"[{{"Config":"c","RepoTags":[{names}],"Layers":[{layers}]}}]"#);
        tar.file("c", "[]").file("manifest.json", list)
    };
    let many = || format!(r#"{}"a""#, r#""a","#.repeat(1_000_000));
    let tar = LayerBuilder::new;
    refused(with_list(tar(), &many(), ""), "more than 4096 names");
    refused(with_list(tar(), "", &many()), "more than 65536 layers");
    let long = "n".repeat(1_000_000);
    refused(
        with_list(
            tar().file(&long, &layer).hard_link("a", &long),
            "",
            &r#","a""#.repeat(500)[1..],
        ),
        "is not valid",
    );
    let repositories: String = (0..250_000)
        .map(|n| format!(r#""{n:x}":{{"b":""}},"#))
        .collect();
    let repositories = format!(r#"{{{repositories}"":{{}}}}"#);
    refused(
        tar().file("repositories", repositories),
        "more than 4096 names",
    );

    // More manifests than fit into the memory limit.
    let mut layout = tar();
    let mut blob = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        layout = std::mem::take(&mut layout).file(format!("blobs/sha256/{}", digest.hex()), bytes);
        json!({"digest": digest, "size": bytes.len()})
    };
    let (config, layer) = (blob(b"{}"), blob(&layer));
    let manifests: Vec<_> = (0..20)
        .map(|number| {
            let more = " ".repeat(4_000_000);
            let manifest =
                format!(r#"{{"n":{number},"config":{config},"layers":[{layer}]{more}}}"#);
            let mut entry = blob(manifest.as_bytes());
            entry["annotations"] =
                json!({"org.opencontainers.image.ref.name": format!("a:{number}")});
            entry
        })
        .collect();
    let layout = layout.file("index.json", json!({"manifests": manifests}).to_string());
    sandbox.write("layout.tar", layout.finish());
    stays_small(sandbox.udocker(["load", "-i", "layout.tar"])).succeeds();
}

#[test]
fn search_prints_large_answers_in_bounded_memory() {
    if !has_tools(&["time"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let names = format!(r#"["z"{}]"#, r#","a""#.repeat(4_000_000));
    let list = format!(r#"{{"tags":{names}}}"#);
    let results = format!(
        r#"{{"count":1,"next":null,"results":[{{}}{}]}}"#,
        ",{}".repeat(1_390_000)
    );
    let registry = FakeRegistry::start(move |request| match request.path() {
        "/v2/lab/tool/tags/list" | "/v2/_catalog" => Reply::new(200, list.clone()),
        "/hub/v2/search/repositories" => Reply::new(200, results.clone()),
        _ => Reply::new(404, ""),
    });
    let url = registry.url();
    let hub = ["search", "-a", &format!("--index={url}/hub"), "tool"];
    let ran = stays_small(sandbox.udocker(hub)).succeeds();
    assert_eq!(ran.stdout.lines().count(), 1001);
    let tags = ["search", "--list-tags", &format!("{url}/lab/tool")];
    let ran = stays_small(sandbox.udocker(tags)).succeeds();
    assert_eq!(ran.stdout.lines().count(), 4_000_001);
    let catalogue = ["search", "-a", &format!("{url}/z")];
    let ran = stays_small(sandbox.udocker(catalogue)).succeeds();
    assert_eq!(ran.stdout.lines().count(), 2, "{ran:#?}");
}

#[test]
fn pull_reads_large_manifests_in_bounded_memory() {
    if !has_tools(&["time"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let digest = |number: u32| Digest::of(&number.to_le_bytes());
    let entry = |digest: &Digest| format!(r#"{{"digest":"{digest}"}}"#);
    // A million URLs of a layer, and nested indexes of the maximum length.
    let places = format!(r#""a"{}"#, r#","a""#.repeat(1_000_000));
    let places = format!(
        r#"{{"config":{},"layers":[{{"digest":"{}","urls":[{places}]}}]}}"#,
        entry(&digest(0)),
        digest(1)
    );
    let others: String = (0..4094)
        .map(|n| format!(",{}", entry(&digest(n))))
        .collect();
    let platform = "p".repeat(3 << 20);
    let mut indexes: Vec<String> = Vec::new();
    for depth in 0..4 {
        let first = indexes
            .last()
            .map_or(digest(depth), |index| Digest::of(index.as_bytes()));
        let platform =
            format!(r#"{{"digest":"{first}","platform":{{"architecture":"{platform}"}}}}"#);
        let first = entry(&first);
        indexes.push(format!(r#"{{"manifests":[{first},{platform}{others}]}}"#));
    }
    let too_many = format!(
        r#"{{"manifests":[{first}{others},{first},{first}]}}"#,
        first = entry(&digest(0))
    );
    let first = indexes.last().cloned().unwrap();
    let registry = FakeRegistry::start(move |request| {
        let name = request.path().rsplit('/').next().unwrap();
        let of_digest = |index: &&String| Digest::of(index.as_bytes()).to_string() == name;
        match name {
            "places" => Reply::new(200, places.clone()),
            "nested" => Reply::new(200, first.clone()),
            "many" => Reply::new(200, too_many.clone()),
            _ => match indexes.iter().find(of_digest) {
                Some(index) => Reply::new(200, index.clone()),
                None => Reply::new(404, ""),
            },
        }
    });
    for (tag, part) in [
        ("places", "does not have 'sha256:"),
        ("nested", "has no 'sha256:"),
        ("many", "lists 4097 manifests, more than the 4096 allowed"),
    ] {
        let image = format!("{}/lab/tool:{tag}", registry.url());
        let ran = stays_small(sandbox.udocker(["pull", &image])).exits_with(1);
        assert!(ran.stderr.contains(part), "{ran:#?}");
    }
}

/// A layer of repetitive content.
fn large_layer(name: &str, bytes: usize) -> Vec<u8> {
    let content: Vec<u8> = name.bytes().cycle().take(bytes).collect();
    LayerBuilder::new().file(name, content).finish()
}

fn zstd_with_window(layer: &[u8], log: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(log).unwrap();
    encoder.write_all(layer).unwrap();
    encoder.finish().unwrap()
}

fn xz_with_dictionary(layer: &[u8], log: u32) -> Vec<u8> {
    let mut options = XzOptions::with_preset(0);
    options.lzma_options.dict_size = 1 << log;
    let mut encoder = XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(layer).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn layers_with_large_windows_share_a_memory_budget() {
    if !has_tools(&["time"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let layers: Vec<Vec<u8>> = ["zero", "one", "two", "three", "four", "five"]
        .into_iter()
        .zip(0..)
        .map(|(name, number)| match number % 3 {
            0 => Packing::Bzip2.pack(&large_layer(name, 4 << 20)),
            1 => zstd_with_window(&large_layer(name, 40 << 20), 25),
            _ => xz_with_dictionary(&large_layer(name, 40 << 20), 25),
        })
        .collect();
    let archive = DockerArchive::new("lab/packed:1", &layers).finish();
    sandbox.write("archive.tar", archive);
    stays_small(sandbox.udocker(["load", "-i", "archive.tar"])).succeeds();
    stays_small(sandbox.udocker(["verify", "lab/packed:1"])).succeeds();
    stays_small(sandbox.udocker(["create", "lab/packed:1"])).succeeds();
}

#[test]
fn a_dictionary_that_does_not_fit_is_refused_with_advice() {
    if !has_tools(&["time"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let large = xz_with_dictionary(&large_layer("four", 1 << 20), 26);
    sandbox.write("large.tar.xz", large);
    for args in [
        &["import", "large.tar.xz", "lab/x"][..],
        &["import", "--tocontainer", "large.tar.xz"],
        &["load", "-i", "large.tar.xz"],
    ] {
        let ran = stays_small(sandbox.udocker(args)).exits_with(1);
        let advice = "it has to be compressed with `xz -8` or less, or decompressed first";
        assert!(ran.stderr.contains(advice), "{ran:#?}");
    }
}

/// A layer of entries that take as much memory as possible.
fn with_large_entries(number: usize) -> Vec<u8> {
    const SEGMENTS: usize = 1 << 18;
    let map: String = (0..SEGMENTS).map(|at| format!("{at}\n0\n")).collect();
    let mut map = format!("{SEGMENTS}\n{map}").into_bytes();
    map.resize(map.len().next_multiple_of(512), 0);
    let mut layer = LayerBuilder::new();
    for file in 0..2 {
        let sparse = TarEntry::new(b'0', format!("sparse{number}/{file}"))
            .pax("GNU.sparse.major", "1")
            .pax("GNU.sparse.minor", "0")
            .pax("GNU.sparse.realsize", "10000000")
            .content(&map[..]);
        layer = layer.entry(sparse);
    }
    let long = ["d".repeat(250).as_str(); 200].join("/");
    for directory in 0..30 {
        let mut entry = TarEntry::new(b'5', format!("{number}/{directory}/{long}"));
        for name in 0..16 {
            let name = format!("SCHILY.xattr.user.{name}");
            entry = entry.pax(&name, [b'v'; 60_000]);
        }
        layer = layer.entry(entry);
    }
    layer.finish()
}

#[test]
fn prefetched_layers_share_a_memory_budget() {
    if !has_tools(&["time", "docker-registry", "skopeo"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let registry = RegistryServer::plain();
    let layout = sandbox.path("layout");
    let image = (0..5).map(with_large_entries);
    let image = image.fold(ImageBuilder::new(), ImageBuilder::layer);
    image.write_layout(&layout, "latest");
    let image = registry.push_layout(&layout, "latest", "lab/large:1");
    // The image holds no program.
    stays_small(sandbox.udocker(["-q", "run", "--name=a", &image, "true"])).exits_with(127);
    stays_small(
        sandbox
            .udocker(["create", &image])
            .env("UDOCKER_IMAGE_TREES", "false"),
    )
    .succeeds();
}

/// A layer that is slow to apply, so that others are prefetched.
fn slow_layer() -> Vec<u8> {
    let mut content = vec![0; 64 << 20];
    Noise(7).read_exact(&mut content[..4 << 20]).unwrap();
    LayerBuilder::new().file("slow", content).finish()
}

/// Makes the layer with this number.
type MakeLayer<'a> = &'a dyn Fn(usize) -> Vec<u8>;

/// A layer of `count` entries.
fn layer_of(count: usize, entry: impl Fn(usize) -> TarEntry) -> Vec<u8> {
    (0..count)
        .map(entry)
        .fold(LayerBuilder::new(), LayerBuilder::entry)
        .finish()
}

#[test]
fn prefetched_entries_wait_in_bounded_memory() {
    const EXTENSION_BYTES: usize = 1 << 20;
    if !has_tools(&["time"]) {
        return;
    }
    let zeros = vec![0; EXTENSION_BYTES - 1];
    // Names that a NUL ends early, in long extension headers.
    let long_targets = |_| {
        let mut layer = LayerBuilder::new();
        for number in 0..20 {
            let target = [b"t", &zeros[..]].concat();
            layer = layer
                .entry(TarEntry::new(b'K', "././@LongLink").content(target))
                .symlink(format!("{number}"), "");
        }
        layer.finish()
    };
    let long_paths = |number| {
        layer_of(200, |file| {
            let slashes = "/".repeat(65_000);
            TarEntry::new(b'5', format!("{number}{slashes}{file}"))
        })
    };
    // Sparse maps on whiteouts.
    let segments = 150_000;
    let map = format!("{segments}\n{}", "0\n0\n".repeat(segments)).into_bytes();
    let ignored = |_| {
        layer_of(20, |number| {
            TarEntry::new(b'0', format!(".wh..wh.{number}"))
                .pax("GNU.sparse.major", "1")
                .pax("GNU.sparse.minor", "0")
                .pax("GNU.sparse.realsize", "1")
                .content([&map[..], &[0; 512][..512 - map.len() % 512]].concat())
        })
    };
    // Attributes and records without effect.
    let record = |key: &str| {
        let line = format!("{} {key}=\n", key.len() + 5);
        line.repeat(EXTENSION_BYTES / line.len())
    };
    let with_records = |records: String| {
        let layer = (0..10).fold(LayerBuilder::new(), |layer, number| {
            let header = TarEntry::new(b'x', "PaxHeaders").content(&records);
            layer.entry(header).directory(format!("{number}"))
        });
        layer.finish()
    };
    let attributes = |_| with_records(record("SCHILY.xattr.a"));
    let records = |_| with_records("5 a=\n".repeat(EXTENSION_BYTES / 5));
    // Few enough entries to be harmless in one layer, in many layers.
    let small = layer_of(6500, |number| TarEntry::new(b'0', format!(".wh.{number}")));
    let small = |_| small.clone();

    let sandbox = Sandbox::new();
    let kinds: [(&str, usize, MakeLayer<'_>); 6] = [
        ("targets", 4, &long_targets),
        ("paths", 4, &long_paths),
        ("ignored", 4, &ignored),
        ("attributes", 4, &attributes),
        ("records", 4, &records),
        ("small", 60, &small),
    ];
    for (name, count, layer) in kinds {
        println!("{name}");
        let image = ImageBuilder::new().layer(slow_layer());
        let image = (0..count).map(layer).fold(image, ImageBuilder::layer);
        let layout = image.write_layout(&sandbox.path(name), "latest");
        let load = ["-q", "load", "-i", layout.to_str().unwrap(), name];
        sandbox.udocker(load).run().succeeds();
        let create = sandbox.udocker(["-q", "create", &format!("{name}:latest")]);
        stays_small(create.env("UDOCKER_IMAGE_TREES", "false")).succeeds();
    }
}
