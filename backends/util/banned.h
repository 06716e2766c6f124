/* banned.h - functions that this project does not use, as compile errors.
 * Included by every .c file after the system headers.  Idea: git's banned.h.
 *
 * Time is util/clock.h, strings that grow are util/buf.h, bytes from outside
 * are classified by our own ASCII tables and never by the locale. */
#ifndef BACKENDS_UTIL_BANNED_H
#define BACKENDS_UTIL_BANNED_H
#define BANNED(f) sorry_##f##_is_not_used_in_mastfs

#undef strcpy
#define strcpy(d, s) BANNED(strcpy)
#undef strncpy
#define strncpy(d, s, n) BANNED(strncpy)
#undef strcat
#define strcat(d, s) BANNED(strcat)
#undef strncat
#define strncat(d, s, n) BANNED(strncat)
#undef sprintf
#define sprintf(...) BANNED(sprintf)
#undef vsprintf
#define vsprintf(...) BANNED(vsprintf)
#undef strtok
#define strtok(s, d) BANNED(strtok)
#undef gmtime
#define gmtime(t) BANNED(gmtime)
#undef localtime
#define localtime(t) BANNED(localtime)
#undef ctime
#define ctime(t) BANNED(ctime)
#undef asctime
#define asctime(t) BANNED(asctime)
#undef alloca
#define alloca(n) BANNED(alloca)
#undef isalpha
#define isalpha(c) BANNED(isalpha)
#undef isdigit
#define isdigit(c) BANNED(isdigit)
#undef isalnum
#define isalnum(c) BANNED(isalnum)
#undef isspace
#define isspace(c) BANNED(isspace)
#undef tolower
#define tolower(c) BANNED(tolower)
#undef toupper
#define toupper(c) BANNED(toupper)
#endif
