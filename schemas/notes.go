package schemas

// Notes is what the registry, the rest of the map and the drifts say of an
// asset: what people search by, and what no observation of it holds.
type Notes struct {
	Names   []string `json:"names,omitempty"`   // of a host, and of the services on it; of a domain, its own
	UnitIn  []string `json:"unit_in,omitempty"` // code and name of its unit, then of each unit above
	City    []string `json:"city,omitempty"`    // name, code and division code
	County  []string `json:"county,omitempty"`  // the same
	School  []string `json:"school,omitempty"`  // name, code and school code
	System  []string `json:"system,omitempty"`  // name and code of its information system
	Level   int      `json:"level,omitempty"`   // the system's level of classified protection, 1 to 5
	Filed   bool     `json:"filed,omitempty"`   // an information system in use has it
	Allowed bool     `json:"allowed,omitempty"` // a whitelist entry in force allows it
	Drift   []string `json:"drift,omitempty"`   // kinds of its open drifts, sorted
}

// NotedAsset is an asset with its notes: a row of the search.
type NotedAsset struct {
	Asset
	Notes Notes
	Mark  uint64 // of the asset's version and the notes: a row that has it need not be written again
}
