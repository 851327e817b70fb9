package annotate

import "fengsui/schemas"

// Drifts holds which drifts of which asset are open. It is not safe for
// concurrent use.
type Drifts struct {
	open map[string]map[string]schemas.DriftKind // by the asset's key, by the drift's id
}

// Put takes a drift as it is now.
func (d *Drifts) Put(v *schemas.Drift) {
	if d.open == nil {
		d.open = map[string]map[string]schemas.DriftKind{}
	}
	of := d.open[v.Asset]
	if v.Status == schemas.DriftOpen {
		if of == nil {
			of = map[string]schemas.DriftKind{}
			d.open[v.Asset] = of
		}
		of[v.ID] = v.Kind
		return
	}
	delete(of, v.ID)
	if len(of) == 0 {
		delete(d.open, v.Asset)
	}
}

// Of is the kinds of an asset's open drifts, in no order.
func (d *Drifts) Of(key string) []schemas.DriftKind {
	var out []schemas.DriftKind
	for _, kind := range d.open[key] {
		out = append(out, kind)
	}
	return out
}
