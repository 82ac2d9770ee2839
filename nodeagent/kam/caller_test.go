package kam

import "testing"

// A caller behind NAT is asked where he really is, by the URI that is his own; one whose Contact is no SIP URI or has another alias is not.
func TestPlace_IsWhereThePhoneReallyIs(t *testing.T) {
	for contact, want := range map[string][2]string{
		"sip:1001@192.0.2.1:5060":                                    {"sip:1001@192.0.2.1:5060", ""},
		"sip:1001@10.0.0.1:5062;alias=192.0.2.1~40000~1":             {"sip:1001@10.0.0.1:5062", "sip:192.0.2.1:40000;transport=udp"},
		"sip:1001@10.0.0.1;transport=tcp;alias=192.0.2.1~40000~2;ob": {"sip:1001@10.0.0.1;transport=tcp;ob", "sip:192.0.2.1:40000;transport=tcp"},
		"sip:x@a.invalid;transport=ws;alias=[2001:db8::1]~40000~6":   {"sip:x@a.invalid;transport=ws", "sip:[2001:db8::1]:40000;transport=ws"},
		"sip:1001@10.0.0.1;alias=192.0.2.1~40000~9":                  {},
		"sip:1001@10.0.0.1;alias=192.0.2.1":                          {},
		"tel:1001":                                                   {},
		"sip:1001@192.0.2.1>\r\nX: y":                                {},
	} {
		uri, hop, err := place(contact)
		if uri != want[0] || hop != want[1] || (err == nil) != (want[0] != "") {
			t.Errorf("%q: %q by %q, %v", contact, uri, hop, err)
		}
	}
}
