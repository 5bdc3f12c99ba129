use super::*;

fn read(text: &str) -> Result<Config, String> {
    Config::from_bytes(text.as_bytes()).map_err(|e| e.to_string())
}

#[test]
fn every_key_is_read() {
    let config = read(
        r#"{
        "tracker": {"port": 8080, "announce_interval": 300, "max_peers_per_torrent": 50, "cleanup_interval": 3600},
        "seeder": {"max_upload_rate": 1048576, "max_download_rate": 0, "max_concurrent_uploads": 10, "piece_request_timeout": 30,
                   "cache_size": 8388608},
        "torrent_creation": {"announce": "http://t:1/announce", "piece_length": 262144, "private": false, "comment": "HiveMind"},
        "network": {"listen_port_range": [6881, 6891], "bind": "eth1", "max_connections": 60, "send_buffer": 262144,
                    "receive_buffer": 524288, "encryption": "required", "pex_enabled": true, "lsd_enabled": false,
                    "dht_enabled": true, "utp_enabled": true, "upnp_enabled": true}
        }"#,
    )
    .unwrap();
    let wanted = Config {
        tracker: Tracker {
            port: Some(8080),
            announce_interval: Some(300),
            max_peers_per_torrent: Some(50),
            cleanup_interval: Some(3600),
        },
        seeder: Seeder {
            max_upload_rate: Some(1_048_576),
            max_download_rate: Some(0),
            max_concurrent_uploads: Some(10),
            piece_request_timeout: Some(30),
            cache_size: Some(8 << 20),
        },
        torrent_creation: Creation {
            announce: Some(vec![vec!["http://t:1/announce".into()]]),
            piece_length: Some(262_144),
            private: Some(false),
            comment: Some("HiveMind".into()),
        },
        network: Network {
            listen_port_range: Some(6881..=6891),
            bind: Some("eth1".into()),
            max_connections: Some(60),
            send_buffer: Some(262_144),
            receive_buffer: Some(524_288),
            encryption: Some(Encryption::Required),
            pex_enabled: Some(true),
            lsd_enabled: Some(false),
            dht_enabled: Some(true),
            utp_enabled: Some(true),
            upnp_enabled: Some(true),
        },
    };
    assert_eq!(config, wanted);
}

#[test]
fn everything_is_optional() {
    assert_eq!(read("{}"), Ok(Config::default()));
    assert_eq!(
        read("\u{feff}{\"seeder\": {\"max_upload_rate\": null}, \"tracker\": {}}"),
        Ok(Config::default())
    );
}

#[test]
fn trackers_come_one_by_one_or_in_tiers() {
    let announce = |json: &str| {
        let text = format!("{{\"torrent_creation\": {{\"announce\": {json}}}}}");
        read(&text).map(|config| config.torrent_creation.announce.unwrap())
    };
    assert_eq!(announce("[]").unwrap(), Vec::<Vec<String>>::new());
    assert_eq!(
        announce(r#"["http://a/", ["udp://b:1", "http://c/"]]"#).unwrap(),
        [vec!["http://a/"], vec!["udp://b:1", "http://c/"]]
    );
    for bad in ["5", "[[]]", "\"ftp://a/\"", "[\"http://a/\", \"b\"]"] {
        assert!(announce(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_known_one() {
    for (text, wanted) in [
        (
            r#"{"trackers": {}}"#,
            "line 1, column 2: there is no section `trackers`; the nearest is `tracker`",
        ),
        (
            r#"{"tracker": {"prot": 1}}"#,
            "line 1, column 14: there is no key `tracker.prot`; the nearest is `tracker.port`",
        ),
        (
            r#"{"seeder": {"listen_port_range": [1, 2]}}"#,
            "line 1, column 13: there is no key `seeder.listen_port_range`; the nearest is `network.listen_port_range`",
        ),
        (
            "{\"tracker\":\n{},\n \"seeder\": {\n\"max_uploads\": 1}}",
            "line 4, column 1: there is no key `seeder.max_uploads`; the nearest is `seeder.max_upload_rate`",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), wanted);
    }
}

#[test]
fn a_value_that_a_key_does_not_take_is_refused_with_what_it_takes() {
    for (section, key, values) in [
        (
            "tracker",
            "port",
            &["-1", "65536", "\"8080\"", "1.5", "[]"][..],
        ),
        ("tracker", "announce_interval", &["0", "86401"]),
        ("tracker", "max_peers_per_torrent", &["0", "1e9"]),
        ("seeder", "max_upload_rate", &["-1", "true"]),
        ("seeder", "piece_request_timeout", &["0", "3601"]),
        (
            "torrent_creation",
            "piece_length",
            &["0", "100000", "8192", "268435456"],
        ),
        ("torrent_creation", "private", &["1", "\"yes\""]),
        ("torrent_creation", "comment", &["5"]),
        (
            "network",
            "listen_port_range",
            &["[1]", "[2, 1]", "[0, 5]", "[1, 2, 3]", "6881"],
        ),
        ("network", "bind", &["\"\"", "7"]),
        ("network", "max_connections", &["0", "65536"]),
        ("network", "encryption", &["\"rc4\"", "true"]),
        ("network", "send_buffer", &["4095", "1073741825"]),
        ("seeder", "cache_size", &["\"24M\"", "-1"]),
    ] {
        for value in values {
            let error = read(&format!("{{\"{section}\": {{\"{key}\": {value}}}}}"));
            let error = error.expect_err(value);
            let column = section.len() + key.len() + 11;
            let begin = format!("line 1, column {column}: `{section}.{key}` does not take `");
            assert!(
                error.starts_with(&begin) && error.contains("; it takes "),
                "{error}"
            );
        }
    }
    for (text, wanted) in [
        (
            "{",
            "line 1, column 1: not valid JSON: EOF while parsing an object",
        ),
        ("[]", "line 1, column 1: the file must be an object: `{…}`"),
        (
            "{\"seeder\": 5}",
            "line 1, column 12: seeder must be an object: `{…}`",
        ),
        (
            "{\"seeder\": {}, \"seeder\": {}}",
            "line 1, column 16: `seeder` stands twice",
        ),
        (
            "{\"tracker\": {\"port\": 1,\n\"port\": 2}}",
            "line 2, column 1: `tracker.port` stands twice",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), wanted, "{text}");
    }
}

#[test]
fn a_file_cut_or_changed_anywhere_is_read_or_refused() {
    let good = r#"{"tracker":{"port":80},"torrent_creation":{"announce":["http://a/"]},"network":{"listen_port_range":[1,2]}}"#;
    assert!(read(good).is_ok());
    for at in 0..good.len() {
        assert!(read(&good[..at]).is_err(), "cut at {at}");
        for byte in 0..=255 {
            let mut bytes = good.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = Config::from_bytes(&bytes);
        }
    }
}
