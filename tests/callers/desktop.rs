//! Desktop use: an X11 window on the host's screen, and a web server.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::support::image::ImageBuilder;
use crate::support::layer_builder::{LayerBuilder, TarEntry};
use crate::support::requirement::has_tools;
use crate::support::sandbox::Sandbox;
use crate::support::wait::wait_until;

/// Colours of the window: red and blue, without the unused byte.
const INK: [u8; 3] = [0xcc, 0x11, 0x22];
const PAPER: [u8; 3] = [0x11, 0x22, 0xcc];

/// An X server without a screen, which keeps its picture in a file.
struct Display {
    server: Child,
    number: String,
    picture: PathBuf,
    cookie: PathBuf,
}

impl Display {
    /// Starts a server that requires a cookie and listens on a socket in the file system only.
    fn start(sandbox: &Sandbox) -> Display {
        let cookie = sandbox.path("cookie");
        let directory = sandbox.path("screen");
        fs::create_dir(&directory).unwrap();
        xauth(&cookie, ":0");
        let mut server = Command::new("Xvfb")
            .args(["-screen", "0", "320x240x24", "-displayfd", "1"])
            .args(["-nolisten", "tcp", "-nolisten", "local", "-noreset"])
            .arg("-fbdir")
            .arg(&directory)
            .arg("-auth")
            .arg(&cookie)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut number = String::new();
        let mut pipe = server.stdout.take().unwrap();
        while !number.ends_with('\n') {
            let mut byte = [0];
            pipe.read_exact(&mut byte).unwrap();
            number.push(char::from(byte[0]));
        }
        let number = format!(":{}", number.trim());
        xauth(&cookie, &number);
        Display {
            server,
            number,
            picture: directory.join("Xvfb_screen0"),
            cookie,
        }
    }

    /// How many pixels have the colour.
    ///
    /// Source: `X11/XWDFile.h`: a header of big-endian words, whose first is its size and whose
    /// twentieth is the number of colours, of twelve bytes each, that follow it. Xvfb writes pixels
    /// of four bytes, the least first.
    fn count(&self, [red, green, blue]: [u8; 3]) -> usize {
        let mut bytes = Vec::new();
        File::open(&self.picture)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        let word = |index: usize| {
            let at = 4 * index;
            u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
        };
        let pixels = &bytes[word(0) + 12 * word(19)..];
        pixels
            .as_chunks::<4>()
            .0
            .iter()
            .filter(|pixel| pixel[..3] == [blue, green, red])
            .count()
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Writes the cookie for the display to `file`.
fn xauth(file: &Path, display: &str) {
    let status = Command::new("xauth")
        .arg("-qf")
        .arg(file)
        .args(["add", display, ".", "0123456789abcdef0123456789abcdef"])
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

/// A program of this machine and the libraries it is linked with, as a layer.
fn program(path: &str) -> Vec<u8> {
    let listed = Command::new("ldd").arg(path).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let libraries = listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    let mut layer = LayerBuilder::new();
    for file in libraries.chain([path]) {
        let content = fs::read(file).unwrap();
        let entry = TarEntry::new(b'0', file.trim_start_matches('/'));
        layer = layer.entry(entry.mode(0o755).content(content));
    }
    layer.finish()
}

/// A sandbox with a container `desk` of the image.
fn container(image: &ImageBuilder) -> Sandbox {
    let sandbox = Sandbox::new();
    image.write_layout(&sandbox.path("layout"), "1");
    sandbox
        .udocker(["load", "-i", "layout", "lab/desk"])
        .run()
        .succeeds();
    sandbox
        .udocker(["create", "--name=desk", "lab/desk:1"])
        .run()
        .succeeds();
    sandbox
}

/// `udocker run --hostauth --hostenv --bindhome --dri -v /tmp/.X11-unix`, as the README of 2016
/// says for Firefox.
#[test]
fn x11_window_of_a_guest_appears_on_the_host_screen() {
    if !has_tools(&["Xvfb", "xauth", "xlogo", "ldd"]) {
        return;
    }
    let sandbox = container(&ImageBuilder::busybox().layer(program("/usr/bin/xlogo")));
    let display = Display::start(&sandbox);
    assert_eq!((display.count(INK), display.count(PAPER)), (0, 0));
    let cookie = format!("--volume={}", display.cookie.display());
    let script = "pwd > /out/home; echo $HOME >> /out/home; id -u >> /out/home; \
        exec /usr/bin/xlogo -geometry 200x200+0+0 -fg '#cc1122' -bg '#1122cc'";
    let out = sandbox.path("out");
    fs::create_dir(&out).unwrap();
    let out_volume = format!("--volume={}:/out", out.display());
    let user = format!("--user={}", rustix::process::getuid().as_raw());
    let options = [
        "run",
        "--nobanner",
        "--hostauth",
        "--hostenv",
        "--bindhome",
        "--dri",
    ];
    let volumes = ["-v", "/tmp/.X11-unix", &cookie, &out_volume, &user];
    let command = ["desk", "sh", "-c", script];
    let run = sandbox
        .udocker(options.iter().chain(&volumes).chain(&command))
        .env("DISPLAY", &display.number)
        .env("XAUTHORITY", &display.cookie)
        .spawn();
    wait_until("the window appears", || {
        // The glyph covers about a quarter of the window.
        display.count(INK) > 2_000 && display.count(PAPER) > 20_000
    });
    let said = fs::read_to_string(out.join("home")).unwrap();
    let said: Vec<&str> = said.lines().collect();
    let uid = rustix::process::getuid().as_raw().to_string();
    assert_eq!((said[0], said[2]), (said[1], uid.as_str()), "{said:?}");
    assert!(Path::new(said[0]).is_dir(), "{said:?}");
    run.signal(Signal::TERM);
    run.wait();
    wait_until("the window goes", || display.count(INK) == 0);
}

#[test]
fn web_server_in_a_guest_answers_on_a_host_port() {
    let sandbox = container(&ImageBuilder::busybox());
    let page = sandbox.write("www/index.html", "from inside");
    let volume = format!("--volume={}:/www", page.parent().unwrap().display());
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let publish = format!("--publish={port}:80");
    let arguments = [
        "-q", "run", &volume, &publish, "desk", "httpd", "-f", "-p", "80", "-h", "/www",
    ];
    let run = sandbox.udocker(arguments).spawn();
    let get = || -> std::io::Result<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", port))?;
        connection.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    };
    wait_until("the server listens", || get().is_ok());
    let answer = get().unwrap();
    assert!(
        answer.lines().next().unwrap().ends_with(" 200 OK"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nfrom inside"), "{answer}");
    run.signal(Signal::TERM);
    run.wait();
    assert!(get().is_err());
}
