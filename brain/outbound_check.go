package brain

import "fmt"

// checkOutbound looks at trunks, routes, forwards and secrets, and at the numbers that are shown outside.
func (v *accountChecker) checkOutbound(rows AccountRows, names *nameSet) {
	v.owned(rows)
	secrets := make(map[string]bool, len(rows.Secrets))
	for i := range rows.Secrets {
		names.once(&rows.Secrets[i], "name", rows.Secrets[i].Name)
		secrets[rows.Secrets[i].Name] = true
	}
	a := &rows.Account
	v.secret(a, secrets, "stir_secret_ref", a.StirSecretRef)
	v.checkTrunks(rows, names, secrets)
	v.checkRoutes(rows, names)
	for i := range rows.Forwards {
		f := &rows.Forwards[i]
		names.once(f, "name", f.Name)
		v.target(f, "overflow_dest_id", f.Overflow())
	}
}

// owned wants the numbers that people show outside to be the account's, whatever their status.
func (v *accountChecker) owned(rows AccountRows) {
	numbers := make(map[string]bool, len(rows.DIDs))
	for i := range rows.DIDs {
		numbers[rows.DIDs[i].E164] = true
	}
	number := func(r Resource, path, e164 string) {
		if e164 != "" && !numbers[e164] {
			v.missing(r, path, KindDID, e164)
		}
	}
	number(&rows.Account, "default_cid_number", rows.Account.DefaultCIDNumber)
	for i := range rows.Users {
		number(&rows.Users[i], "out_cid_number", rows.Users[i].OutCIDNumber)
	}
}

func (v *accountChecker) secret(r Resource, secrets map[string]bool, path, name string) {
	if name != "" && !secrets[name] {
		v.missing(r, path, KindSecret, name)
	}
}

// checkTrunks wants a digest to be of one trunk, or of one device, alone.
func (v *accountChecker) checkTrunks(rows AccountRows, names *nameSet, secrets map[string]bool) {
	logins := make(map[string]string, len(rows.Devices)) // who has it
	for i := range rows.Devices {
		logins[rows.Devices[i].AuthUsername] = "a device"
	}
	for i := range rows.Trunks {
		t := &rows.Trunks[i]
		names.once(t, "name", t.Name)
		v.secret(t, secrets, "auth_secret_ref", t.AuthSecretRef)
		if t.InboundAuth != InboundDigest && t.InboundAuth != InboundRegister {
			continue
		}
		if holder := logins[t.AuthUsername]; holder != "" {
			text := fmt.Sprintf("%s is the auth_username of %s of the account already", quote(t.AuthUsername), holder)
			v.errs = append(v.errs, RowError{Resource: t, Taken: true, FieldError: FieldError{Path: "auth_username", Text: text}})
		}
		logins[t.AuthUsername] = "another trunk"
	}
}

// checkRoutes wants the trunks of routes to carry calls to the outside.
func (v *accountChecker) checkRoutes(rows AccountRows, names *nameSet) {
	directions := make(map[string]TrunkDirection, len(rows.Trunks))
	for i := range rows.Trunks {
		directions[rows.Trunks[i].ID] = rows.Trunks[i].Direction
	}
	emergency := make(map[string]bool)
	for i := range rows.Routes {
		r := &rows.Routes[i]
		names.once(r, "name", r.Name)
		if i == maxRoutes {
			v.add(r, "name", "the account has more than %d outbound routes", maxRoutes)
		}
		emergency[r.ID] = r.IsEmergency
		v.refer(r, "schedule_id", KindTimeSchedule, r.ScheduleID)
		for n, choice := range r.Trunks {
			path := fmt.Sprintf("trunks[%d].trunk_id", n)
			switch direction, exists := directions[choice.TrunkID]; {
			case !exists:
				v.missing(r, path, KindSIPTrunk, choice.TrunkID)
			case direction == TrunkInbound:
				v.add(r, path, "the trunk carries no calls to the outside: its direction is inbound")
			}
		}
	}
	a := &rows.Account
	v.refer(a, "emergency_route_id", KindOutboundRoute, a.EmergencyRouteID)
	if is, exists := emergency[a.EmergencyRouteID]; exists && !is {
		v.add(a, "emergency_route_id", "the route is none for emergency calls: set is_emergency of it")
	}
}
