//! Parses port mappings and CPU lists.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// The value of `-p`: the port that the guest asks for, and the one that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// The port on the host.
    pub host: u16,
    /// The port in the container.
    pub guest: u16,
}

/// An invalid port mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid port mapping '{0}': expected HOST:CONTAINER, ports or ranges of equal length, of at most {MAX_PORTS}"
)]
pub struct PortError(pub String);

/// The most ports in one range. PRoot takes about twice as many in all.
const MAX_PORTS: usize = 4096;

impl PortMapping {
    /// Parses `[ADDRESS:]HOST:CONTAINER[/tcp|/udp]`, where both can be ranges such as 8000-8002.
    /// The address is ignored: the guest uses the host's network, and only port numbers are mapped.
    ///
    /// # Errors
    /// A part is missing or no port, one range is longer than the other, or both are too long.
    pub fn parse(text: &str) -> Result<Vec<PortMapping>, PortError> {
        let error = || PortError(text.to_string());
        let numbers = text
            .strip_suffix("/tcp")
            .or_else(|| text.strip_suffix("/udp"))
            .unwrap_or(text);
        let (rest, guest) = numbers.rsplit_once(':').ok_or_else(error)?;
        let host = rest.rsplit_once(':').map_or(rest, |(_, host)| host);
        match (ports(host), ports(guest)) {
            (Some(host), Some(guest)) if host.len() == guest.len() && host.len() <= MAX_PORTS => {
                let pairs = host.zip(guest);
                Ok(pairs
                    .map(|(host, guest)| PortMapping { host, guest })
                    .collect())
            }
            _ => Err(error()),
        }
    }
}

fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some(first..=last)
}

/// The value of `--cpuset-cpus`: at least one CPU, in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(Vec<usize>);

/// An invalid list of CPUs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid CPU list '{0}': expected numbers and ranges such as 0,2-3, below 1024")]
pub struct CpuListError(pub String);

impl CpuList {
    /// The size of the kernel's fixed-size CPU set.
    const LIMIT: usize = 1024;

    /// The numbers of the CPUs.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }
}

impl FromStr for CpuList {
    type Err = CpuListError;

    fn from_str(text: &str) -> Result<CpuList, CpuListError> {
        let error = || CpuListError(text.to_string());
        let number = |text: &str| match text.trim().parse::<usize>() {
            Ok(number) if number < CpuList::LIMIT => Ok(number),
            _ => Err(error()),
        };
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(error());
            }
            cpus.extend(first..=last);
        }
        cpus.sort_unstable();
        cpus.dedup();
        Ok(CpuList(cpus))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_parsed() {
        let mapping = |(host, guest)| PortMapping { host, guest };
        for (text, mappings) in [
            ("8080:80", vec![(8080, 80)]),
            ("127.0.0.1:8080:80", vec![(8080, 80)]),
            ("8080:80/tcp", vec![(8080, 80)]),
            ("[::1]:8080:80", vec![(8080, 80)]),
            ("8000-8002:80-82", vec![(8000, 80), (8001, 81), (8002, 82)]),
            (
                "127.0.0.1:8000-8001:80-81/udp",
                vec![(8000, 80), (8001, 81)],
            ),
        ] {
            let mappings = mappings.into_iter().map(mapping).collect();
            assert_eq!(PortMapping::parse(text), Ok(mappings), "{text}");
        }
        for text in [
            "",
            "80",
            "a:b",
            "0:80",
            "80:",
            "65536:1",
            "1:2/sctp",
            "1-2:3",
            "1-2:3-5",
            "2-1:4-3",
            "1-:1-",
            "1-4097:1-4097",
        ] {
            assert!(PortMapping::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cpu_lists_are_parsed() {
        for (text, cpus) in [
            ("0", vec![0]),
            ("1,2-3", vec![1, 2, 3]),
            ("3, 1-2,2", vec![1, 2, 3]),
        ] {
            let list: CpuList = text.parse().unwrap();
            assert_eq!(list.iter().collect::<Vec<_>>(), cpus, "{text}");
        }
        for text in ["", "a", "1-", "-1", "3-1", "1,,2", "1024", "0-99999999999"] {
            assert!(text.parse::<CpuList>().is_err(), "{text}");
        }
    }
}
