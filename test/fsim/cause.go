package fsim

import "strconv"

// cause is why a channel ended: FreeSWITCH's name, the code of Q.850, and the SIP response that refuses a call with it.
type cause struct {
	name string
	q850 int
	code int
	text string
}

// causes are the ones sipio can meet, from switch_cause_t and hangup_cause_to_sip of mod_sofia.
var causes = []cause{
	{"NONE", 0, 480, "Temporarily Unavailable"},
	{"UNALLOCATED_NUMBER", 1, 404, "Not Found"},
	{"NO_ROUTE_TRANSIT_NET", 2, 404, "Not Found"},
	{"NO_ROUTE_DESTINATION", 3, 404, "Not Found"},
	{"NORMAL_CLEARING", 16, 480, "Temporarily Unavailable"},
	{"USER_BUSY", 17, 486, "Busy Here"},
	{"NO_USER_RESPONSE", 18, 408, "Request Timeout"},
	{"NO_ANSWER", 19, 480, "Temporarily Unavailable"},
	{"SUBSCRIBER_ABSENT", 20, 480, "Temporarily Unavailable"},
	{"CALL_REJECTED", 21, 603, "Decline"},
	{"NUMBER_CHANGED", 22, 410, "Gone"},
	{"REDIRECTION_TO_NEW_DESTINATION", 23, 410, "Gone"},
	{"EXCHANGE_ROUTING_ERROR", 25, 483, "Too Many Hops"},
	{"DESTINATION_OUT_OF_ORDER", 27, 502, "Bad Gateway"},
	{"INVALID_NUMBER_FORMAT", 28, 484, "Address Incomplete"},
	{"FACILITY_REJECTED", 29, 501, "Not Implemented"},
	{"NORMAL_UNSPECIFIED", 31, 480, "Temporarily Unavailable"},
	{"NORMAL_CIRCUIT_CONGESTION", 34, 503, "Service Unavailable"},
	{"NETWORK_OUT_OF_ORDER", 38, 503, "Service Unavailable"},
	{"NORMAL_TEMPORARY_FAILURE", 41, 503, "Service Unavailable"},
	{"SWITCH_CONGESTION", 42, 503, "Service Unavailable"},
	{"FACILITY_NOT_SUBSCRIBED", 50, 403, "Forbidden"},
	{"OUTGOING_CALL_BARRED", 52, 403, "Forbidden"},
	{"INCOMING_CALL_BARRED", 54, 403, "Forbidden"},
	{"BEARERCAPABILITY_NOTAUTH", 57, 403, "Forbidden"},
	{"BEARERCAPABILITY_NOTAVAIL", 58, 503, "Service Unavailable"},
	{"BEARERCAPABILITY_NOTIMPL", 65, 488, "Not Acceptable Here"},
	{"CHAN_NOT_IMPLEMENTED", 66, 480, "Temporarily Unavailable"},
	{"FACILITY_NOT_IMPLEMENTED", 69, 501, "Not Implemented"},
	{"INCOMPATIBLE_DESTINATION", 88, 488, "Not Acceptable Here"},
	{"MANDATORY_IE_MISSING", 96, 480, "Temporarily Unavailable"},
	{"RECOVERY_ON_TIMER_EXPIRE", 102, 504, "Gateway Time-out"},
	{"INTERWORKING", 127, 480, "Temporarily Unavailable"},
	{"ORIGINATOR_CANCEL", 487, 487, "Request Terminated"},
	{"CRASH", 500, 480, "Temporarily Unavailable"},
	{"SYSTEM_SHUTDOWN", 501, 480, "Temporarily Unavailable"},
	{"LOSE_RACE", 502, 480, "Temporarily Unavailable"},
	{"MANAGER_REQUEST", 503, 480, "Temporarily Unavailable"},
	{"BLIND_TRANSFER", 800, 480, "Temporarily Unavailable"},
	{"ATTENDED_TRANSFER", 601, 480, "Temporarily Unavailable"},
	{"ALLOTTED_TIMEOUT", 602, 480, "Temporarily Unavailable"},
	{"USER_CHALLENGE", 603, 480, "Temporarily Unavailable"},
	{"MEDIA_TIMEOUT", 604, 480, "Temporarily Unavailable"},
	{"PICKED_OFF", 605, 480, "Temporarily Unavailable"},
	{"USER_NOT_REGISTERED", 606, 480, "Temporarily Unavailable"},
	{"SERVICE_UNAVAILABLE", 63, 480, "Temporarily Unavailable"},
	{"SERVICE_NOT_IMPLEMENTED", 79, 501, "Not Implemented"},
	{"INVALID_PROFILE", 609, 502, "Bad Gateway"},
	{"UNWANTED", 807, 607, "Unwanted"},
}

const normalClearing = "NORMAL_CLEARING"

// causeNamed finds a cause by name or number; what nobody knows is NORMAL_CLEARING, as switch_channel_str2cause says.
func causeNamed(name string) cause {
	number, err := strconv.Atoi(name)
	for _, c := range causes {
		if c.name == name || err == nil && c.q850 == number {
			return c
		}
	}
	return causeNamed(normalClearing)
}

// fromSIP is what a final response above 299 to our INVITE means, by sofia_glue.c. Anything else is NORMAL_UNSPECIFIED.
var fromSIP = map[int]string{
	400: "NORMAL_TEMPORARY_FAILURE", 401: "CALL_REJECTED", 402: "CALL_REJECTED", 403: "CALL_REJECTED", 404: "UNALLOCATED_NUMBER",
	405: "SERVICE_UNAVAILABLE", 406: "SERVICE_NOT_IMPLEMENTED", 407: "CALL_REJECTED", 408: "RECOVERY_ON_TIMER_EXPIRE", 410: "NUMBER_CHANGED",
	413: "INTERWORKING", 414: "INTERWORKING", 416: "INTERWORKING", 420: "INTERWORKING", 421: "INTERWORKING", 423: "INTERWORKING",
	415: "SERVICE_NOT_IMPLEMENTED", 480: "NO_USER_RESPONSE", 481: "NORMAL_TEMPORARY_FAILURE", 482: "EXCHANGE_ROUTING_ERROR",
	483: "EXCHANGE_ROUTING_ERROR", 484: "INVALID_NUMBER_FORMAT", 485: "NO_ROUTE_DESTINATION", 486: "USER_BUSY", 487: "ORIGINATOR_CANCEL",
	488: "INCOMPATIBLE_DESTINATION", 500: "NORMAL_TEMPORARY_FAILURE", 501: "SERVICE_NOT_IMPLEMENTED", 502: "NETWORK_OUT_OF_ORDER",
	503: "NORMAL_TEMPORARY_FAILURE", 504: "RECOVERY_ON_TIMER_EXPIRE", 505: "INTERWORKING", 513: "INTERWORKING", 600: "USER_BUSY",
	603: "CALL_REJECTED", 604: "NO_ROUTE_DESTINATION", 606: "INCOMPATIBLE_DESTINATION", 607: "UNWANTED", 608: "CALL_REJECTED",
}

func causeOfSIP(code int) string {
	if name := fromSIP[code]; name != "" {
		return name
	}
	return "NORMAL_UNSPECIFIED"
}
