package route

import (
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// answerScenarios are the golden files of calls from outside, of hours, and of calls that the platform answers.
var answerScenarios = platform([]scenario{
	// Numbers.
	{name: "number-to-flow", about: "Main leads to a flow, which learns the number's label and variables", dial: "+4930100", trunk: true,
		change: func(o *office) { o.did().DestXform = brain.Vars{"team": "north & south", "lang": "de"} }},
	{name: "number-to-user", about: "a number rings Bob; his no answer goes to the mailbox", dial: "004930100", trunk: true,
		change: func(o *office) { o.leads("user us_1002"); noanswer(o.user("1002"), "voicemail vm_reception") }},
	{name: "number-to-extension", about: "a number leads to extension 300", dial: "4930100", trunk: true, change: func(o *office) { o.leads("extension ext_300") }},
	{name: "number-to-group", about: "a number rings Sales", dial: "4930100", trunk: true, change: func(o *office) { o.leads("ring_group rg_sales") }},
	{name: "number-to-conference", about: "a number leads to a conference", dial: "4930100", trunk: true, change: func(o *office) { o.leads("conference conf_board") }},
	{name: "number-to-hangup", about: "a number refuses with 603", dial: "4930100", trunk: true, change: func(o *office) { o.leads("hangup 603") }},
	{name: "number-default", about: "a number without a target goes where the account's numbers go", dial: "4930100", trunk: true,
		change: func(o *office) {
			o.leads("")
			o.Account.DIDDefaultDestKind, o.Account.DIDDefaultDestID = dest("user us_1005")
		}},
	{name: "number-leads-nowhere", about: "neither the number nor the account names a target", dial: "4930100", trunk: true, change: func(o *office) { o.leads("") }},
	{name: "number-draft-flow", about: "a flow that was never published answers nobody", dial: "4930100", trunk: true, change: func(o *office) { o.leads("flow flow_later") }},
	{name: "number-disabled", about: "a disabled number is refused", dial: "4930100", trunk: true, change: func(o *office) { o.did().Status = brain.StatusDisabled }},
	{name: "number-virtual", about: "a virtual number is never called from outside", dial: "4930100", trunk: true, change: func(o *office) { o.did().Status = brain.StatusVirtual }},
	{name: "number-unknown", about: "the account has no such number", dial: "4930999", trunk: true},
	{name: "number-unreadable", about: "what is dialed is no number", dial: "reception", trunk: true},
	{name: "number-account-suspended", about: "the account is suspended", dial: "4930100", trunk: true, change: func(o *office) { o.Account.Status = brain.StatusSuspended }},

	// Who calls from outside.
	{name: "caller-asserted", about: "the network's word for who calls comes before From", dial: "4930100", trunk: true,
		from: func(r *api.RouteRequest) { r.Asserted, r.FromUser = "+4940777", "0" }},
	{name: "caller-withheld", about: "a caller who withholds his number is anonymous, though the network knows him", dial: "4930100", trunk: true,
		from: func(r *api.RouteRequest) { r.Asserted, r.FromUser, r.FromName = "+4940777", "anonymous", "Anonymous" }},
	{name: "caller-anonymous-refused", about: "the number takes no anonymous calls", dial: "4930100", trunk: true,
		from:   func(r *api.RouteRequest) { r.Asserted, r.FromUser = "+4940777", "Anonymous" },
		change: func(o *office) { o.did().AllowAnonymous = false }},
	{name: "caller-unreadable-refused", about: "who cannot be called back counts as anonymous", dial: "4930100", trunk: true,
		from: func(r *api.RouteRequest) { r.FromUser = "a@b>\r\n" }, change: func(o *office) { o.did().AllowAnonymous = false }},
	{name: "caller-known-taken", about: "the number takes no anonymous calls, and this one is none", dial: "4930100", trunk: true,
		change: func(o *office) { o.did().AllowAnonymous = false }},
	{name: "caller-name-traps", about: "a name full of traps is one value, and quoted in From", dial: "4930100", trunk: true,
		from: func(r *api.RouteRequest) { r.FromName = "\"x\\\"&record=1\r\nX-Evil: %26\u202e é\"" }},
	{name: "caller-without-name", about: "without a name the number is shown", dial: "4930100", trunk: true, from: func(r *api.RouteRequest) { r.FromName = "" }},

	// Numbers in national form, in an account of a country.
	{name: "national-germany", about: "the carrier writes both numbers as they are dialed in Germany", dial: "030100", trunk: true,
		from: func(r *api.RouteRequest) { r.FromUser, r.FromName = "0405551234", "" }, change: in("DE", "4930100")},
	{name: "national-france", about: "the carrier leaves the 0 out", dial: "142685300", trunk: true,
		from: func(r *api.RouteRequest) { r.Asserted, r.FromUser = "612345678", "0" }, change: in("FR", "33142685300")},
	{name: "national-italy", about: "the leading 0 is part of an Italian number", dial: "0669812345", trunk: true,
		from: func(r *api.RouteRequest) { r.FromUser = "0669876543" }, change: in("IT", "390669812345")},
	{name: "national-us", about: "ten digits are a number in the US; the caller is abroad", dial: "4155552671", trunk: true,
		from: func(r *api.RouteRequest) { r.FromUser = "01149405551234" }, change: in("US", "14155552671")},
	{name: "national-russia", about: "8 is the trunk prefix, 810 the way out", dial: "84951234567", trunk: true,
		from: func(r *api.RouteRequest) { r.FromUser = "81049405551234" }, change: in("RU", "74951234567")},
	{name: "national-unknown-caller", about: "an extension of the PBX behind the trunk is no number and stands as it came", dial: "+4930100", trunk: true,
		from: func(r *api.RouteRequest) { r.FromUser = "214" }, change: in("DE", "4930100")},
	{name: "national-withheld", about: "who withholds his number is not known by it", dial: "0049 30100", trunk: true,
		from: func(r *api.RouteRequest) { r.Asserted, r.FromUser = "0405551234", "anonymous" }, change: in("DE", "4930100")},
	{name: "national-of-nobody", about: "a number of the country that the account does not have", dial: "03099999999", trunk: true, change: in("DE", "4930100")},
	{name: "national-without-country", about: "without a country 030100 is no number of the account", dial: "030100", trunk: true},

	// Hours of numbers.
	{name: "hours-open", about: "open: the number's own target", dial: "4930100", trunk: true, at: "2026-11-23 09:00",
		change: func(o *office) { o.keeps("sch_hours", "voicemail vm_reception", "hangup 480") }},
	{name: "hours-closed", about: "a minute before opening: the closed target", dial: "4930100", trunk: true, at: "2026-11-23 08:59",
		change: func(o *office) { o.keeps("sch_hours", "voicemail vm_reception", "hangup 480") }},
	{name: "hours-zone-of-schedule", about: "the schedule's zone counts, not the account's: there it is not 9 yet", dial: "4930100", trunk: true, at: "2026-11-23 09:30",
		change: func(o *office) {
			o.keeps("sch_hours", "voicemail vm_reception", "")
			o.Schedules[0].Timezone = "UTC"
		}},
	{name: "hours-holiday", about: "Christmas: the holiday target", dial: "4930100", trunk: true, at: "2026-12-25 10:00",
		change: func(o *office) { o.keeps("sch_hours", "voicemail vm_reception", "hangup 486") }},
	{name: "hours-holiday-falls-back", about: "without a holiday target the closed one holds", dial: "4930100", trunk: true, at: "2026-12-25 10:00",
		change: func(o *office) { o.keeps("sch_hours", "voicemail vm_reception", "") }},
	{name: "hours-closed-nowhere", about: "closed, and nothing for it; the account's default is for open hours", dial: "4930100", trunk: true, at: "2026-11-22 10:00",
		change: func(o *office) {
			o.keeps("sch_hours", "", "")
			o.Account.DIDDefaultDestKind, o.Account.DIDDefaultDestID = dest("user us_1005")
		}},
	{name: "hours-broken", about: "a schedule that cannot be read is open", dial: "4930100", trunk: true, at: "2026-11-22 03:00",
		change: func(o *office) { o.keeps("sch_broken", "hangup 480", "hangup 480") }},
	{name: "hours-missing", about: "a schedule that is gone is open", dial: "4930100", trunk: true, at: "2026-11-22 03:00",
		change: func(o *office) { o.keeps("sch_gone", "hangup 480", "hangup 480") }},

	// Hours of extensions and ring groups.
	{name: "hours-extension-closed", about: "extension 300 is closed at night", dial: "300", at: "2026-11-23 22:00", change: extensionHours("voicemail vm_reception", "")},
	{name: "hours-extension-holiday", about: "extension 300 on Christmas", dial: "300", at: "2026-12-25 10:00", change: extensionHours("voicemail vm_reception", "flow flow_hello")},
	{name: "hours-extension-closed-nowhere", about: "extension 300 is closed and says no more", dial: "300", at: "2026-11-23 22:00", change: extensionHours("", "")},
	{name: "hours-extension-open", about: "extension 300 by day", dial: "300", change: extensionHours("voicemail vm_reception", "")},
	{name: "hours-group-closed", about: "Sales is closed: overflow at once", dial: "200", at: "2026-11-23 17:00",
		change: func(o *office) { o.sales().ScheduleID = "sch_hours"; overflow(o.sales(), "voicemail vm_reception") }},
	{name: "hours-group-holiday-nowhere", about: "Sales has a holiday and no overflow", dial: "200", at: "2026-12-25 10:00",
		change: func(o *office) { o.sales().ScheduleID = "sch_hours" }},

	// What the platform answers, for phones.
	{name: "answer-flow", about: "extension 400 is a flow", dial: "400"},
	{name: "answer-voicemail", about: "extension 401 is a mailbox", dial: "401"},
	{name: "answer-own-mailbox", about: "extension 98 is the caller's own mailbox", dial: "98"},
	{name: "answer-conference", about: "extension 402 is a conference", dial: "402"},
	{name: "answer-mailbox-of-nobody", about: "a mailbox without a name is for listening only", dial: "98", change: func(o *office) { o.extension("98").DestXform = nil }},
	{name: "answer-gone", about: "the conference of extension 402 is gone", dial: "402", change: func(o *office) { o.Conferences = nil }},
	{name: "answer-forward-always", about: "Bob forwards everything to the mailbox", dial: "1002", change: func(o *office) { always(o.user("1002"), "voicemail vm_reception") }},
	{name: "answer-dnd", about: "Bob has do-not-disturb and forwards busy to the mailbox", dial: "1002",
		change: func(o *office) { o.user("1002").DND = true; busy(o.user("1002"), "voicemail vm_reception") }},
	{name: "answer-after-ringing", about: "Bob: busy goes to a flow, no answer to the mailbox", dial: "1002",
		change: func(o *office) {
			busy(o.user("1002"), "extension ext_400")
			noanswer(o.user("1002"), "voicemail vm_reception")
		}},
	{name: "answer-after-both", about: "busy and no answer share the mailbox", dial: "1002",
		change: func(o *office) {
			busy(o.user("1002"), "voicemail vm_reception")
			noanswer(o.user("1002"), "voicemail vm_reception")
		}},
	{name: "answer-queue", about: "extension 403 is a queue; whether it is open is not the route's to say", dial: "403", at: "2026-11-23 22:00"},
	{name: "answer-queue-gone", about: "the queue of extension 403 is gone", dial: "403", change: func(o *office) { o.Queues = nil }},
	{name: "answer-agent-login", about: "*45 signs the caller in as an agent", dial: "*45"},
	{name: "answer-queue-join", about: "*45 signs the caller in to a queue", dial: "*45",
		change: func(o *office) {
			e := o.extension("*45")
			e.DestID, e.DestXform = "q_support", brain.Vars{"action": brain.ActionQueueJoin}
		}},
	{name: "answer-queue-join-none", about: "*45 names no queue to be signed in to", dial: "*45",
		change: func(o *office) { o.extension("*45").DestXform = brain.Vars{"action": brain.ActionQueueJoin} }},
	{name: "answer-queue-unnamed", about: "*45 names neither a queue nor what an agent does", dial: "*45", change: func(o *office) { o.extension("*45").DestXform = nil }},
	{name: "answer-overflow-queue", about: "Sales overflows to a queue", dial: "200", change: func(o *office) { overflow(o.sales(), "queue q_support") }},
	{name: "number-to-queue", about: "a number leads to a queue", dial: "4930100", trunk: true, change: func(o *office) { o.leads("queue q_support") }},
	{name: "number-to-agent-login", about: "nobody signs in from outside", dial: "4930100", trunk: true, change: func(o *office) { o.leads("extension ext_45") }},
	{name: "answer-overflow", about: "Sales overflows to a conference", dial: "200", change: func(o *office) { overflow(o.sales(), "conference conf_board") }},
	{name: "answer-variables-cut", about: "variables that do not fit are left out, by name from the end", dial: "400",
		change: func(o *office) {
			o.extension("400").DestXform = brain.Vars{"a": strings.Repeat("é", 200), "b": strings.Repeat("é", 200), "c": "short"}
		}},

	// Recorded users: the media server calls them, with no exits; what follows is the session's to say.
	{name: "record-called", about: "calls to Bob are recorded", dial: "1002",
		change: func(o *office) {
			o.user("1002").RecordPolicy = brain.RecordInbound
			noanswer(o.user("1002"), "voicemail vm_reception")
		}},
	{name: "record-called-from-outside", about: "calls to Bob are recorded, from outside too", dial: "4930100", trunk: true,
		change: func(o *office) { o.leads("user us_1002"); o.user("1002").RecordPolicy = brain.RecordAll }},
	{name: "record-calling", about: "calls of Alice are recorded", dial: "1002", change: func(o *office) { o.user("1001").RecordPolicy = brain.RecordOutbound }},
	{name: "record-calling-group", about: "calls of Alice are recorded, to a group too", dial: "200", change: func(o *office) { o.user("1001").RecordPolicy = brain.RecordAll }},
	{name: "record-calling-flow", about: "a flow is no conversation to be recorded for the caller", dial: "400", change: func(o *office) { o.user("1001").RecordPolicy = brain.RecordAll }},
	{name: "record-not-this-way", about: "only what Bob dials is recorded, and only what is called by others of Alice", dial: "1002",
		change: func(o *office) {
			o.user("1002").RecordPolicy = brain.RecordOutbound
			o.user("1001").RecordPolicy = brain.RecordInbound
		}},
	{name: "record-member", about: "a group's call is its own: Bob's policy does not count in it", dial: "200", change: func(o *office) { o.user("1002").RecordPolicy = brain.RecordAll }},
	{name: "record-forwarded", about: "Bob forwards to Eve, whose calls are recorded", dial: "1002",
		change: func(o *office) {
			always(o.user("1002"), "user us_1005")
			o.user("1005").RecordPolicy = brain.RecordInbound
		}},
	{name: "record-after-ringing", about: "Bob rings; Eve, who follows, is recorded", dial: "1002",
		change: func(o *office) {
			noanswer(o.user("1002"), "user us_1005")
			o.user("1005").RecordPolicy = brain.RecordInbound
		}},

	// Legs of the media server.
	{name: "leg-user", about: "a leg rings Bob and has no exits; it is not recorded again", leg: "user/us_1002",
		change: func(o *office) {
			busy(o.user("1002"), "user us_1005")
			noanswer(o.user("1002"), "voicemail vm_reception")
			o.user("1002").RecordPolicy = brain.RecordAll
		}},
	{name: "leg-extension", about: "a leg rings extension 300", leg: "extension/ext_300"},
	{name: "leg-group", about: "a leg rings Sales one by one, and does not overflow", leg: "ring_group/rg_sales",
		change: func(o *office) { o.sales().Strategy = brain.RingSequential; overflow(o.sales(), "user us_1005") }},
	{name: "leg-forward-voicemail", about: "Bob forwards everything to the mailbox, for legs too", leg: "user/us_1002",
		change: func(o *office) { always(o.user("1002"), "voicemail vm_reception") }},
	{name: "leg-forward-flow", about: "a leg is never led into a flow, which might call for ever", leg: "user/us_1002",
		change: func(o *office) { always(o.user("1002"), "flow flow_hello") }},
	{name: "leg-forward-conference", about: "nor into a conference", leg: "extension/ext_402"},
	{name: "leg-flow", about: "a leg for a flow", leg: "flow/flow_hello"},
	{name: "leg-queue", about: "a leg is never led into a queue", leg: "extension/ext_403"},
	{name: "leg-agent", about: "a leg for a queue rings all of Carol's phones, whatever she has set for calls of her own", leg: "agent/us_1003",
		change: func(o *office) {
			u := o.user("1003")
			u.DND, u.RingStrategy, u.RecordPolicy = true, brain.RingSequential, brain.RecordAll
			always(u, "user us_1002")
			busy(u, "user us_1005")
			noanswer(u, "voicemail vm_reception")
		}},
	{name: "leg-agent-specific", about: "a leg for a queue rings Carol's first phone only, as she wants it", leg: "agent/us_1003",
		change: func(o *office) { o.user("1003").RingStrategy = brain.RingSpecific }},
	{name: "leg-agent-no-line", about: "a leg for a queue finds no free line of Bob's, and is not forwarded", leg: "agent/us_1002", busy: "us_1002",
		change: func(o *office) { busy(o.user("1002"), "user us_1005") }},
	{name: "leg-agent-disabled", about: "a leg for a queue to a disabled user", leg: "agent/us_1002", change: func(o *office) { o.user("1002").Status = brain.StatusDisabled }},
	{name: "leg-agent-no-phone", about: "a leg for a queue to a user without a phone", leg: "agent/us_1004"},
	{name: "leg-agent-gone", about: "a leg for a queue to a user who is gone", leg: "agent/us_9999"},
	{name: "leg-supervisor", about: "a leg for a supervisor rings all of Carol's phones, as one for a queue does", leg: "supervisor/us_1003",
		change: func(o *office) {
			o.user("1003").DND = true
			always(o.user("1003"), "user us_1002")
		}},
	{name: "leg-supervisor-no-line", about: "a supervisor without a free line", leg: "supervisor/us_1002", busy: "us_1002"},
	{name: "leg-number-user", about: "somebody who is called back, by his own number", leg: "number/1002"},
	{name: "leg-number-extension", about: "somebody who is called back, by an extension that leads to Bob", leg: "number/300"},
	{name: "leg-number-unknown", about: "a number to be called back that nobody has", leg: "number/4940555"},
	{name: "leg-number-disabled", about: "a number to be called back of a disabled user", leg: "number/1002",
		change: func(o *office) { o.user("1002").Status = brain.StatusDisabled }},
	{name: "leg-number-mailbox", about: "a mailbox is not called back: it would take the call", leg: "number/1002",
		change: func(o *office) { always(o.user("1002"), "voicemail vm_reception") }},
	{name: "leg-number-queue", about: "nor is a queue", leg: "number/403"},
	{name: "leg-nonsense", about: "a leg for nothing that is known", leg: "x\r\n/1"},
	{name: "leg-unknown-user", about: "a leg for a user who is gone", leg: "user/us_9999"},
	{name: "leg-anonymous", about: "a leg of a caller who withholds his number", leg: "user/us_1002",
		from: func(r *api.RouteRequest) { r.FromUser, r.FromName = "anonymous", "" }},
})

// platform has scenarios play in the office that newPlatform makes, under names of their own.
func platform(list []scenario) []scenario {
	for i := range list {
		list[i].name, list[i].office = "answer/"+list[i].name, newPlatform
	}
	return list
}

// in puts the office into a country and makes Main a number of it that rings Bob.
func in(country, e164 string) func(o *office) {
	return func(o *office) {
		o.Account.Country, o.did().E164 = country, e164
		o.leads("user us_1002")
	}
}

// extensionHours gives extension 300 hours and targets outside them.
func extensionHours(closed, holiday string) func(o *office) {
	return func(o *office) {
		e := o.extension("300")
		e.ScheduleID = "sch_hours"
		e.ClosedDestKind, e.ClosedDestID = dest(closed)
		e.HolidayDestKind, e.HolidayDestID = dest(holiday)
	}
}
