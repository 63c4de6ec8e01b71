//! The guard's certificate authority: made once for an account, limited to the hosts that are bound when it is made, and kept
//! sealed in the vault. It signs a certificate for each connection to one of those hosts.

use std::net::IpAddr;

use data_encoding::BASE64;
use jiff::{Timestamp as Moment, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::outcomes::{Certificate, GuardError};
use crate::domain::{origin::Origin, time::Timestamp};

/// Seconds in a day.
const DAY: i64 = 24 * 60 * 60;
/// Days before now from which a certificate is valid: the clocks of this machine and of a browser elsewhere differ.
const DAYS_BEFORE: i64 = 2;
/// Days that an authority is valid.
const AUTHORITY_DAYS: i64 = 3650;
/// The most bytes of an authority's certificate, which is sent with each host's: TLS clients accept 64 KiB of
/// certificates at least.
const CERTIFICATE_BYTES_MAX: usize = 48 * 1024;
/// Days that a certificate for a host is valid: browsers refuse more than 398.
const HOST_DAYS: i64 = 30;

/// A certificate authority, with its private key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authority {
    /// The authority's name in certificates. No other authority has it, so that a browser does not mistake one for
    /// another.
    name: String,
    /// The host names, domains and addresses that the authority may sign for.
    hosts: Vec<String>,
    certificate: String,
    key: Zeroizing<String>,
}

/// A certificate for a host with its chain and key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Authority {
    /// Makes an authority for the hosts of these origins.
    pub(super) fn make(origins: &[Origin], now: Timestamp) -> Result<Self, GuardError> {
        let mut hosts: Vec<String> = origins.iter().map(|origin| bare(origin.host()).to_owned()).collect();
        hosts.sort();
        hosts.dedup();
        if hosts.is_empty() {
            return Err(GuardError::NothingBound);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let hash = BASE64.encode(&Sha256::digest(key.subject_public_key_info()));
        let name = format!("Countersign guard {}", hash.get(..8).unwrap_or_default());
        let mut params = params_of(&name, &hosts);
        set_days(&mut params, now, AUTHORITY_DAYS);
        let certificate = params.self_signed(&key).map_err(failed)?;
        if certificate.der().len() > CERTIFICATE_BYTES_MAX {
            return Err(GuardError::TooManyHosts(hosts.len()));
        }
        Ok(Self {
            name,
            hosts,
            certificate: BASE64.encode(certificate.der()),
            key: Zeroizing::new(BASE64.encode(key.serialized_der())),
        })
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, GuardError> {
        serde_json::from_slice(bytes).map_err(|_| damaged())
    }

    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Strings and lists of them always serialise.
        Zeroizing::new(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Whether the authority may sign for a host.
    pub(super) fn covers(&self, host: &str) -> bool {
        let host = bare(host);
        let below = |domain: &str| host.strip_suffix(domain).is_some_and(|name| name.ends_with('.'));
        let is_address = host.parse::<IpAddr>().is_ok();
        self.hosts.iter().any(|known| known == host || !is_address && below(known))
    }

    /// Makes a certificate for a host.
    pub(super) fn identity(&self, host: &str, now: Timestamp) -> Result<Identity, GuardError> {
        let issuer = Issuer::new(params_of(&self.name, &self.hosts), self.key()?);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::new(vec![bare(host).to_owned()]).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "Countersign guard");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_days(&mut params, now, HOST_DAYS);
        let signed = params.signed_by(&key, &issuer).map_err(failed)?;
        Ok(Identity {
            chain: vec![signed.der().clone(), self.der()?],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }

    /// The certificate, for a browser.
    pub(super) fn certificate(&self) -> Result<Certificate, GuardError> {
        let hash = Sha256::digest(self.key()?.subject_public_key_info());
        let lines: Vec<&str> =
            self.certificate.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
        Ok(Certificate { pem, key_hash: BASE64.encode(&hash), hosts: self.hosts.clone() })
    }

    fn der(&self) -> Result<CertificateDer<'static>, GuardError> {
        Ok(BASE64.decode(self.certificate.as_bytes()).map_err(|_| damaged())?.into())
    }

    fn key(&self) -> Result<KeyPair, GuardError> {
        let der = BASE64.decode(self.key.as_bytes()).map_err(|_| damaged())?;
        let der = PrivatePkcs8KeyDer::from(der);
        KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).map_err(failed)
    }
}

/// The parameters of an authority's certificate, except when it is valid.
fn params_of(name: &str, hosts: &[String]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.name_constraints = Some(constraints(hosts));
    params
}

/// The names and addresses that the authority is limited to. A kind that is not mentioned at all would not be limited.
fn constraints(hosts: &[String]) -> NameConstraints {
    let permitted = hosts.iter().map(|host| match host.parse::<IpAddr>() {
        Ok(address) => {
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, if address.is_ipv4() { 32 } else { 128 }))
        }
        Err(_) => GeneralSubtree::DnsName(host.clone()),
    });
    let mut permitted_subtrees: Vec<GeneralSubtree> = permitted.collect();
    let mut excluded_subtrees = Vec::new();
    if !permitted_subtrees.iter().any(|one| matches!(one, GeneralSubtree::DnsName(_))) {
        // A name that no host has (RFC 6761).
        permitted_subtrees.push(GeneralSubtree::DnsName("invalid".to_owned()));
    }
    if !permitted_subtrees.iter().any(|one| matches!(one, GeneralSubtree::IpAddress(_))) {
        excluded_subtrees.push(GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([0; 4], 0)));
        excluded_subtrees.push(GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix([0; 16], 0)));
    }
    NameConstraints { permitted_subtrees, excluded_subtrees }
}

/// A host without the brackets of an IPv6 address.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Sets the first and the last day on which a certificate is valid.
fn set_days(params: &mut CertificateParams, now: Timestamp, days: i64) {
    let day = |days: i64| {
        let seconds = now.seconds().saturating_add(days.saturating_mul(DAY));
        let date = TimeZone::UTC.to_datetime(Moment::from_second(seconds).unwrap_or(Moment::UNIX_EPOCH)).date();
        (i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let ((year, month, first), (last_year, last_month, last)) = (day(-DAYS_BEFORE), day(days));
    params.not_before = date_time_ymd(year, month, first);
    params.not_after = date_time_ymd(last_year, last_month, last);
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn failed(cause: rcgen::Error) -> GuardError {
    GuardError::Certificates(cause.to_string())
}

fn damaged() -> GuardError {
    GuardError::Certificates(
        "what the vault holds of the authority is damaged; `countersign guard ca --new` makes another".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
        crypto::aws_lc_rs,
        pki_types::{ServerName, UnixTime},
    };

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_305_600);

    fn authority(origins: &[&str]) -> Authority {
        let origins: Vec<Origin> = origins.iter().map(|origin| origin.parse().unwrap()).collect();
        let made = Authority::make(&origins, NOW).unwrap();
        Authority::from_bytes(&made.to_bytes()).unwrap()
    }

    /// Whether a client that trusts the authority trusts its certificate for a host.
    fn is_trusted(authority: &Authority, host: &str) -> bool {
        let identity = authority.identity(host, NOW).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().unwrap()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let name = ServerName::try_from(bare(host).to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.seconds().unsigned_abs()));
        verifier.verify_server_cert(&identity.chain[0], &[], &name, &[], now).is_ok()
    }

    #[test]
    fn a_certificate_is_good_for_bound_hosts_and_for_no_other_whoever_has_the_key() {
        let names = authority(&["https://login.example.com", "https://*.example.org", "https://localhost:8443"]);
        for (host, is_bound) in [
            ("login.example.com", true),
            ("a.b.example.org", true),
            ("localhost", true),
            ("example.com", false),
            ("other.example.com", false),
            ("badexample.org", false),
            ("192.0.2.7", false),
            ("[2001:db8::1]", false),
        ] {
            assert_eq!((names.covers(host), is_trusted(&names, host)), (is_bound, is_bound), "{host}");
        }
        let addresses = authority(&["https://192.0.2.7", "https://[2001:db8::1]:8443"]);
        for (host, is_bound) in [
            ("192.0.2.7", true),
            ("[2001:db8::1]", true),
            ("192.0.2.8", false),
            ("[2001:db8::2]", false),
            ("example.com", false),
        ] {
            assert_eq!((addresses.covers(host), is_trusted(&addresses, host)), (is_bound, is_bound), "{host}");
        }
    }

    #[test]
    fn two_authorities_have_two_names_and_keys() {
        let (one, other) = (authority(&["https://a.example"]), authority(&["https://a.example"]));
        assert_ne!(one.name, other.name);
        assert_ne!(one.certificate().unwrap().key_hash, other.certificate().unwrap().key_hash);
        assert!(Authority::make(&[], NOW).is_err_and(|problem| matches!(problem, GuardError::NothingBound)));
    }

    #[test]
    fn a_certificate_that_no_client_would_take_is_not_made() {
        let origins = |count| (0..count).map(|n| format!("https://login{n}.example.com").parse().unwrap());
        let of = |count| Authority::make(&origins(count).collect::<Vec<Origin>>(), NOW);
        assert!(of(1500).is_ok());
        assert!(of(3000).is_err_and(|problem| matches!(problem, GuardError::TooManyHosts(3000))));
    }
}
