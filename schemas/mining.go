package schemas

import "time"

// EvidenceKind says how a piece of mining evidence was found.
type EvidenceKind string

// The kinds of mining evidence.
const (
	PoolDomainDNS    EvidenceKind = "pool_domain_dns"    // a pool's name asked for, or among the answers
	PoolDomainTLS    EvidenceKind = "pool_domain_tls"    // a pool's name as TLS server name or in its certificate
	PoolDomainHTTP   EvidenceKind = "pool_domain_http"   // a pool's name as HTTP host
	PoolAddress      EvidenceKind = "pool_address"       // a connection to an address listed as a pool's
	StratumMethod    EvidenceKind = "stratum_method"     // a Stratum method in the clear
	GetBlockTemplate EvidenceKind = "getblocktemplate"   // getblocktemplate or getwork over HTTP
	MinerLogin       EvidenceKind = "miner_login"        // XMRig-style login, job, submit
	EthLogin         EvidenceKind = "eth_login"          // eth_submitLogin, eth_getWork, eth_submitWork
	WebMiner         EvidenceKind = "web_miner"          // a miner in a web page, over WebSocket
	MinerProcess     EvidenceKind = "miner_process"      // a miner's program name
	MinerCommandLine EvidenceKind = "miner_command_line" // a miner's command line
	DeviceVerdict    EvidenceKind = "device_verdict"     // a device's own rule says mining
	PoolPort         EvidenceKind = "pool_port"          // a connection to a port that pools use: weak
)

// MiningEvidence is one observation that speaks for mining.
type MiningEvidence struct {
	Kind     EvidenceKind `json:"kind"`
	EventID  string       `json:"event_id"`
	Time     time.Time    `json:"time"`
	Pool     string       `json:"pool,omitempty"`     // the pool's domain or address
	Port     int          `json:"port,omitempty"`     // the pool's port
	Coin     string       `json:"coin,omitempty"`     // where known
	Protocol string       `json:"protocol,omitempty"` // where known, as in stratum.protocol
	Wallet   string       `json:"wallet,omitempty"`   // wallet or worker, where known
	Detail   string       `json:"detail,omitempty"`   // the value that was seen
	Weight   float64      `json:"weight"`             // probability, 0 to 1, that this alone means mining
}

// MiningDetection is a host that mines, with everything that says so.
type MiningDetection struct {
	ID         string           `json:"id"` // from unit, host and first evidence
	Version    uint64           `json:"version"`
	Status     AlertStatus      `json:"status"`
	Host       string           `json:"host"` // internal address, or host name where no address is known
	Unit       string           `json:"unit,omitempty"`
	Pools      []string         `json:"pools,omitempty"`
	Coins      []string         `json:"coins,omitempty"`
	Protocols  []string         `json:"protocols,omitempty"`
	Wallets    []string         `json:"wallets,omitempty"`
	Confidence float64          `json:"confidence"` // 0 to 1; rises with independent kinds of evidence
	First      time.Time        `json:"first"`
	Last       time.Time        `json:"last"`
	Raised     time.Time        `json:"raised"`
	Received   time.Time        `json:"received"` // when the collector accepted the event that raised it
	Updated    time.Time        `json:"updated"`
	Count      uint64           `json:"count"` // pieces of evidence so far
	Evidence   []MiningEvidence `json:"evidence"`
	Drill      bool             `json:"drill,omitempty"`
	Who        []Identity       `json:"who,omitempty"` // as in Alert

	Partition int   `json:"partition"` // as in Alert
	Offset    int64 `json:"offset"`
}
