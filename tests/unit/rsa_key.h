/* rsa_key.h - a private key that protects nothing: made for the tests with
 * `openssl genrsa 1024`.  NL: how its lines end.
 */
#ifndef TESTS_UNIT_RSA_KEY_H
#define TESTS_UNIT_RSA_KEY_H
#define TEST_RSA_KEY(NL)                                                      \
	"-----BEGIN PRIVATE KEY-----" NL                                      \
	"MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBAKSWaYoM2IaYcfDb" NL \
	"4rczz2Q7vQlXB0zahE8GnI/24sKUPAYNQ8TEw9uVkKHELBIM/NuRGmhzOWuUNBAw" NL \
	"VtxybYChUHWRdxNYzhCpREjvn13sTWelgwtGhyYnb74y2Qn9gPkgbbuGBHIvwhpI" NL \
	"6R7Gxci73/MrzyuI9Gl6+cGPTyGXAgMBAAECgYEAl+e3GtIGWhuDNiFL23i3FjTI" NL \
	"oUEwnK8l5GYexATCf4Ie8Br4DDjq59Tf+126qyJPkjsXW4XVXkQX1UU4NhhqlQ2w" NL \
	"9RWju+A1bvdpT5O2VfCGhuKjtHzoL3vcYZvP28to+XS6vZ0KFzNAJG6MqpnhbQqa" NL \
	"C34Uio9nAf8822+d0RkCQQDULSkyX9FTNYCeC2GM8JSGWiEvkqQx39d4BJq7DsuV" NL \
	"KBUQkG2BNMOCuuXJ2FKldnSl4uECM1DewvMW0ZBfDl6rAkEAxpT82inAPPl3Cjwn" NL \
	"gUQNrth/9/ufOmt8djTnV8VEq5hvdoS3fBmsxAMsSovhg4Dxt+QiPZXOxbJVshDp" NL \
	"XCDYxQJAaOr3/x/ga4v+UKiCEWZ5m0IAPPz/UmZEruVf+fWj99q9J9azP3vu3bs7" NL \
	"m6brn0RHBCx/ZU4oxC6UdAkmocqCRwJAI6n6R0wcRFchM+tdxO9t7argQK8mB53q" NL \
	"OmiB69d338F+szBeq6EI0CMpvzGkDLQJtVb5d0oCWqsOjO5QmsUjaQJBAMvLE4F2" NL \
	"w9urYeyMvq04FLMAKy9o/Xx0BH6dzShy38pVrtp1VytLk0P6gPug65ODSmOf4680" NL \
	"83RBzm++tle1CQU=" NL "-----END PRIVATE KEY-----" NL
#endif
