package schemas

import "time"

// Topic is a Kafka topic as it is to be created.
type Topic struct {
	Name           string
	Partitions     int
	Compact        bool          // keeps the newest record of each key, for ever
	Retention      time.Duration // how long records are kept; 0 with Compact
	RetentionBytes int64         // per partition; whichever comes first
}

// The topics.
const (
	TopicLogs         = "logs"         // raw records, keyed by source; headers: Origin
	TopicMatches      = "matches"      // Match, keyed by Match.Key
	TopicAlerts       = "alerts"       // Alert, keyed by id, for other tiers and tools
	TopicDeadLetters  = "dead-letters" // raw records that could not be parsed, whole, with Origin and the header "reason"
	TopicObservations = "observations" // Observation, keyed by host; one partition, since a name and its address are judged together
	TopicScanTasks    = "scan.tasks"   // ScanTask, keyed by shard
	TopicScanLeases   = "scan.leases"  // ScanEvent, keyed by shard; one partition, since the first of two claims wins
	TopicScanState    = "scan.state"   // ScanState, keyed by ScanState.Key; an empty value deletes
	TopicRegistry     = "registry"     // RegistryRecord, keyed by kind/id; an empty value deletes
	TopicIndicators   = "indicators"   // for joint warning
)

// HeaderReason is the header of a dead letter that says why it is one.
const HeaderReason = "reason"

const gib = 1 << 30

// Topics is every topic, with the defaults for one machine.
func Topics() []Topic {
	day := 24 * time.Hour
	return []Topic{
		{Name: TopicLogs, Partitions: 4, Retention: 3 * day, RetentionBytes: 1 * gib},
		{Name: TopicMatches, Partitions: 4, Retention: 7 * day, RetentionBytes: gib / 4},
		{Name: TopicAlerts, Partitions: 1, Retention: 30 * day, RetentionBytes: gib / 4},
		{Name: TopicDeadLetters, Partitions: 1, Retention: 30 * day, RetentionBytes: gib / 2},
		// A first scan of a province is some ten million of them, of half a kilobyte, and
		// they come faster than they are folded.
		{Name: TopicObservations, Partitions: 1, Retention: 7 * day, RetentionBytes: 4 * gib},
		// A shard waits for its network's hours up to a week, and a day more; its
		// leases must not be forgotten before it is.
		{Name: TopicScanTasks, Partitions: 4, Retention: 9 * day, RetentionBytes: gib / 8},
		{Name: TopicScanLeases, Partitions: 1, Retention: 10 * day, RetentionBytes: gib / 2},
		{Name: TopicScanState, Partitions: 1, Compact: true},
		{Name: TopicRegistry, Partitions: 1, Compact: true},
		{Name: TopicIndicators, Partitions: 1, Compact: true},
	}
}
