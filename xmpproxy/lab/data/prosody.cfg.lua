-- TLS is offered and not required, there are no rate limits, and nothing but clients can connect.
run_as_root = true
data_path = "$directory/data"
pidfile = "$directory/prosody.pid"
certificates = "$directory"
interfaces = { "127.0.0.1" }
c2s_ports = { $port }
c2s_direct_tls_ports = { $tlsPort }
s2s_ports = { }
s2s_direct_tls_ports = { }
http_ports = { }
https_ports = { }
-- With Nagle's algorithm on, runs of small writes stall for 40 ms at a time.
network_settings = { nagle = false }
modules_enabled = {
  "blocklist", "bookmarks", "csi_simple", "disco", "pep", "ping", "posix", "private", "roster", "saslauth", "smacks",
  "time", "tls", "uptime", "vcard4", "vcard_legacy", "version",
  $modules
}
modules_disabled = { "s2s" }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_hashed"
log = { info = "*console" }
ssl = { key = "$directory/key.pem", certificate = "$directory/cert.pem" }
VirtualHost "$domain"
