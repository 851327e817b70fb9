package schemas

import "testing"

// The table names nothing that the catalogue does not have.
func TestSigma(t *testing.T) {
	for _, s := range SigmaSources() {
		if len(s.When) == 0 {
			t.Errorf("%s/%s/%s: no event would belong to it", s.Product, s.Category, s.Service)
		}
		for _, all := range s.When {
			for _, term := range all {
				if err := CheckField(term.Field); err != nil || len(term.Values) == 0 {
					t.Errorf("%s/%s/%s: %s: %v, %d values", s.Product, s.Category, s.Service, term.Field, err, len(term.Values))
				}
			}
		}
		for name, fields := range s.fields.names {
			for _, f := range fields {
				if err := CheckField(f); err != nil {
					t.Errorf("%s/%s/%s: %s: %v", s.Product, s.Category, s.Service, name, err)
				}
			}
		}
		if r := s.fields.rest; r != "" {
			if err := CheckField(r + "x"); err != nil {
				t.Errorf("rest %s: %v", r, err)
			}
		}
	}
}

// A name that stands in an open namespace and is almost a known one is told.
func TestSigmaMeant(t *testing.T) {
	f := func(product, category, name, want string) {
		t.Helper()
		s, ok := LookupSigma(product, category, "")
		if !ok {
			t.Fatalf("%s/%s is not known", product, category)
		}
		if got := s.Meant(name); got != want {
			t.Errorf("%s/%s %s: %q, want %q", product, category, name, got, want)
		}
	}
	f("windows", "process_creation", "CommandLine", "")
	f("windows", "process_creation", "commandline", "CommandLine")
	f("windows", "process_creation", "CommandLien", "CommandLine")
	f("windows", "process_creation", "ParentComandLine", "ParentCommandLine")
	f("windows", "process_creation", "image", "Image")
	f("windows", "process_creation", "Imag", "") // too short to tell
	f("windows", "process_creation", "VendorOwnField", "")
	f("windows", "process_creation", "winlog.event_data.commandline", "") // it is said on purpose
	f("linux", "process_creation", "Commandline", "CommandLine")
	f("", "dns", "Query", "query")
	f("fengsui", "", "CommandLine", "") // refused by name
}

func TestSigmaFields(t *testing.T) {
	f := func(product, category, service, name, want string) {
		t.Helper()
		s, ok := LookupSigma(product, category, service)
		if !ok {
			t.Fatalf("%s/%s/%s is not known", product, category, service)
		}
		got, err := s.Fields(name)
		if err != nil {
			if want != "" {
				t.Errorf("%s: %v", name, err)
			}
			return
		}
		if got[0] != want {
			t.Errorf("%s is %v, want %s first", name, got, want)
		}
	}
	f("windows", "process_creation", "", "Image", "winlog.event_data.Image")
	f("windows", "process_creation", "", "EventID", "winlog.event_id")
	f("windows", "process_creation", "", "Hashes", "winlog.event_data.Hashes")
	f("windows", "process_creation", "", "user", "winlog.event_data.user") // no alias of the catalogue
	f("windows", "process_creation", "", "process.executable", "process.executable")
	f("zeek", "", "dns", "query", "dns.question.name")
	f("zeek", "", "dns", "Z", "zeek.extra.Z")
	f("zeek", "", "dns", "id.orig_h", "source.ip")
	f("aws", "", "cloudtrail", "userIdentity.type", "labels.userIdentity.type")
	f("fengsui", "", "", "source.ip", "source.ip")
	f("fengsui", "", "", "src", "src")
	f("fengsui", "", "", "sorce.ip", "")
	f("linux", "", "sshd", "user.nam", "") // no key of sshd's: user.name was meant
}
