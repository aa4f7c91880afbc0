/* Requests: what a call's arguments point to, copied into the slot by the table in the shared pages (design D4). */
#include "stub.h"

enum { ARG_STRING = 1, ARG_BUFFER = 2, ARG_BULK = 3, ARG_IOVEC = 4, ARG_GATHER = 5 };
enum { SHORT_CALL = 1 };
enum { SENT_NULL = -1, SENT_TOO_LARGE = -2, SENT_APART = -3 };
enum { BULK_MIN = 256, BULK_MAX = 16384, IOVEC_MAX = 8, EXEC_STRINGS_MAX = 8192 };

static int64_t marshal_one(uint8_t kind, uint64_t value, uint64_t next, uint8_t *to, uint64_t room)
{
    if (kind == ARG_STRING) {
        if (!value)
            return SENT_NULL;
        return copy_string(to, (void *)value, room < 4096 ? room : 4096);
    }
    uint64_t size = kind == ARG_BUFFER ? next : kind & 0x80 ? (kind & 0x7fU) * 8 : kind & 0x3fU;
    if (kind != ARG_BUFFER && !value)
        return SENT_NULL;
    if (size > room)
        return SENT_TOO_LARGE;
    return copy_bytes(to, (void *)value, size) ? -EFAULT_ : (int64_t)size;
}

/* The contents of a write stand behind the records that make up the request: the Sentry takes them from there if it
   wants them at all, straight to where they go. Few are a record like any other; of many it says only that. */
static int64_t marshal_apart(struct slot *s, uint32_t used, uint64_t value, uint64_t size)
{
    if (size > BULK_MAX || size > DATA_SIZE - used)
        return SENT_TOO_LARGE;
    return copy_bytes(s->data + used, (void *)value, size) ? -EFAULT_ : SENT_APART;
}

/* A few bytes, the call's only in-argument, in place of the arguments that it has not got. */
static uint32_t marshal_small(struct slot *s, uint64_t value, uint64_t size)
{
    int64_t n = copy_bytes(&s->args[4], (void *)value, size) ? -EFAULT_ : (int64_t)size;

    s->args[3] = (uint64_t)n;
    return DATA_IN_ARGS | (n > 0 ? 8 + (((uint32_t)n + 7) & ~7U) : 8);
}

/* The same of a short iovec, whose record has the array and then what became of its contents. */
static int64_t gather_apart(struct slot *s, uint32_t used, uint32_t array_at, uint64_t count)
{
    uint64_t total = 0;

    if (DATA_SIZE - used < BULK_MAX)
        return SENT_TOO_LARGE;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t part[2]; /* struct iovec; read once */
        memcpy(part, s->data + array_at + 16 * i, 16);
        if (part[1] > BULK_MAX - total)
            return SENT_TOO_LARGE;
        if (copy_bytes(s->data + used + total, (void *)part[0], part[1]))
            return -EFAULT_;
        total += part[1];
    }
    return SENT_APART;
}

static int64_t marshal_iovec(uint8_t kind, uint64_t value, uint64_t count, uint8_t *to, uint64_t room)
{
    if (!count || count > IOVEC_MAX || 16 * count + 8 > room)
        return SENT_TOO_LARGE;
    if (copy_bytes(to, (void *)value, 16 * count))
        return -EFAULT_;
    return (int64_t)(16 * count + (kind == ARG_GATHER ? 8 : 0));
}

/* After the arguments are in place: it may write over the last of them. */
static uint32_t marshal(struct slot *s, uint64_t nr, const uint64_t *args)
{
    uint32_t used = 0, apart_at = 0;
    int apart = -1;

    if (nr >= 512)
        return 0;
    const uint8_t *row = (const uint8_t *)(SHARED_BASE + 0x2000) + nr * 8;
    if (row[6] == SHORT_CALL && args[2] <= SMALL_SIZE)
        return marshal_small(s, args[1], args[2]);
    for (int i = 0; i < 6; i++) {
        if (!row[i])
            continue;
        if (used + 16 > DATA_SIZE)
            break;
        uint64_t next = i < 5 ? args[i + 1] : 0;
        int64_t n = SENT_TOO_LARGE;
        if (row[i] == ARG_BULK && next > BULK_MIN) {
            apart = i;
            apart_at = used;
        } else if (row[i] == ARG_IOVEC || row[i] == ARG_GATHER) {
            n = marshal_iovec(row[i], args[i], next, s->data + used + 8, DATA_SIZE - used - 8);
            if (row[i] == ARG_GATHER && n > 0) {
                apart = i;
                apart_at = used + (uint32_t)n; /* the last word of the record */
            }
        } else {
            uint8_t kind = row[i] == ARG_BULK ? ARG_BUFFER : row[i];
            n = marshal_one(kind, args[i], next, s->data + used + 8, DATA_SIZE - used - 8);
        }
        memcpy(s->data + used, &n, 8);
        used += 8 + (n > 0 ? ((uint32_t)n + 7) & ~7U : 0);
    }
    if (apart >= 0) {
        uint64_t count = args[apart + 1];
        int64_t n = row[apart] == ARG_BULK ? marshal_apart(s, used, args[apart], count)
                                           : gather_apart(s, used, apart_at - 16 * (uint32_t)count, count);
        memcpy(s->data + apart_at, &n, 8);
    }
    return used;
}

/* rt_sigreturn has no arguments: send the frame's ucontext, so that the Sentry learns the mask. */
uint32_t marshal_sigreturn(struct slot *s, uint64_t sp)
{
    int64_t n = copy_bytes(s->data + 8, (void *)sp, sizeof(struct ucontext)) ? -EFAULT_ : (int64_t)sizeof(struct ucontext);
    memcpy(s->data, &n, 8);
    return 8 + sizeof(struct ucontext);
}

/* exit(2) and exit_group(2) bring what the Sentry would have to look for in this process otherwise. */
static uint32_t marshal_exit(struct slot *s, uint64_t nr)
{
    struct last_words words = {0, 0};
    uint64_t head[3]; /* struct robust_list_head */
    uint64_t usage[18]; /* struct rusage */

    if (s->robust_list && !copy_bytes(head, (void *)s->robust_list, sizeof head))
        words.holds_no_lock = head[0] == s->robust_list && !head[2];
    if (nr == SYS_exit_group && sys2(SYS_getrusage, 0, usage) == 0)
        words.peak_kib = usage[4];
    memcpy(s->data, &words, sizeof words);
    return sizeof words;
}

/* execve(2)'s argv and envp behind the path: to the Sentry each page that a fork has left shared costs its copy. */
static uint32_t marshal_strings(struct slot *s, uint32_t used, const uint64_t *arrays)
{
    struct exec_strings head = {SENT_TOO_LARGE, {0, 0}};
    uint8_t *to = s->data + used + sizeof head;
    uint64_t filled = 0, pointer;

    for (int i = 0; i < 2; i++)
        for (uint64_t at = arrays[i]; at; at += 8) {
            if (copy_bytes(&pointer, (void *)at, 8))
                goto out;
            if (!pointer)
                break;
            int64_t n = copy_string(to + filled, (void *)pointer, EXEC_STRINGS_MAX - filled);
            if (n < 0)
                goto out;
            filled += (uint64_t)n + 1;
            head.counts[i]++;
        }
    head.size = (int64_t)filled;
out:
    memcpy(s->data + used, &head, sizeof head);
    return used + (uint32_t)sizeof head + (head.size > 0 ? (uint32_t)head.size : 0);
}

uint32_t marshal_call(struct slot *s, uint64_t nr, const uint64_t *args)
{
    if (nr == SYS_execve)
        return marshal_strings(s, marshal(s, nr, args), args + 1);
    return nr == SYS_exit_group || nr == SYS_exit ? marshal_exit(s, nr) : marshal(s, nr, args);
}
