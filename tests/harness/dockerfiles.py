"""Dockerfiles as people write them, and as they get them wrong."""

import bz2
import gzip
import lzma
import tarfile

from harness.build import context

BASE = "FROM busybox:e2e\n"


def link(to):
    return {"kind": tarfile.SYMTYPE, "link": to}


INNER = context({"in/side": {"data": "s", "mode": 0o640, "uid": 5, "gid": 6}, "top": "t", "l": link("in/side")})

# The context of all of them.
TREE = {
    "go.mod": "module x\n", "main.go": "package main\n", "pkg/a/a.go": "a", "pkg/b/b.go": "b", "pkg/b/b_test.go": "t",
    "package.json": "{}", "package-lock.json": "{}", "src/index.js": "i", "src/lib/x.js": "x", "node_modules/m/index.js": "m",
    "requirements.txt": "flask\n", "app/__init__.py": "", "app/main.py": "p", "app/main.pyc": "c", "pom.xml": "<p/>",
    "src/main/java/A.java": "A", "target/app-1.0.jar": "jar", "target/app-1.0-sources.jar": "sources",
    "docker-entrypoint.sh": {"data": "#!/bin/sh\nexec \"$@\"\n", "mode": 0o755}, "secret.key": {"data": "k", "mode": 0o600},
    "a b.txt": "ab", "a c.txt": "ac", "we ird/x y": "xy", "conf/a.conf": "a", "conf/b.conf": "b", "conf/sub/c.conf": "c",
    "empty/": "", "to-dir": link("conf"), "to-file": link("go.mod"), "conf/link": link("a.conf"), "conf/out": link("/etc/passwd"),
    "i.tar": INNER, "i.tar.gz": gzip.compress(INNER, mtime=0), "i.tar.bz2": bz2.compress(INNER), "i.tar.xz": lzma.compress(INNER),
    "fake.tar": "no archive", "hello.gz": gzip.compress(b"hello", mtime=0),
}

# name: what follows `FROM busybox:e2e`, or a whole file; with what the call has besides.
GOOD = {
    "go": "FROM busybox:e2e AS build\nWORKDIR /src\nCOPY go.mod ./\nRUN cat go.mod\nCOPY . .\nRUN mkdir /out && cat pkg/*/*.go > /out/app && chmod 755 /out/app\n"
          'FROM scratch\nCOPY --from=build /out/app /app\nUSER 65534:65534\nENTRYPOINT ["/app"]\n',
    "node": "FROM busybox:e2e as deps\nWORKDIR /usr/src/app\nCOPY package*.json ./\nRUN mkdir node_modules && echo m > node_modules/m\nFROM deps as build\nCOPY . .\nRUN mkdir dist && cp src/index.js dist/\n"
            'FROM busybox:e2e\nENV NODE_ENV=production\nWORKDIR /app\nCOPY --from=deps /usr/src/app/node_modules ./node_modules\nCOPY --from=build --chown=alice:staff /usr/src/app/dist ./dist\nEXPOSE 3000/tcp 9229\nUSER alice\nCMD ["node", "dist/index.js"]\n',
    "python": "FROM busybox:e2e\nENV PYTHONUNBUFFERED=1 \\\n    PYTHONDONTWRITEBYTECODE=1\nWORKDIR /app\nCOPY requirements.txt .\nRUN cat requirements.txt > /installed\nCOPY app/ ./app/\nEXPOSE 8000\nHEALTHCHECK --interval=30s --timeout=3s --retries=3 CMD wget -q localhost:8000 || exit 1\nCMD python -m app.main\n",
    "java": "ARG JAR=target/app-1.0.jar\nFROM busybox:e2e AS extract\nARG JAR\nCOPY ${JAR} /x/app.jar\nRUN cp /x/app.jar /x/layer\nFROM busybox:e2e\nCOPY --from=extract /x/ /opt/\nENV JAVA_OPTS=\"-Xmx1g -Dx=y\"\nENTRYPOINT exec java $JAVA_OPTS -jar /opt/app.jar\n",
    "jars by pattern": "COPY target/*[0-9].jar /app.jar\nCOPY target/*.jar /all/\n",
    "an entrypoint script": "COPY docker-entrypoint.sh /usr/local/bin/\nRUN ln -s usr/local/bin/docker-entrypoint.sh /entry\nENTRYPOINT [\"docker-entrypoint.sh\"]\nSTOPSIGNAL SIGQUIT\nCMD [\"serve\"]\n",
    "global arguments": ("ARG TAG=nope\nARG IMAGE=busybox\nFROM $IMAGE:${TAG}\nARG TAG\nARG IMAGE=own\nRUN echo $TAG $IMAGE > /a\n", {"buildargs": {"TAG": "e2e"}}),
    "global arguments are the file's": "ARG A=global\nFROM busybox:e2e\nRUN echo \"[$A]\" > /a\nARG A\nRUN echo \"[$A]\" > /b\nARG A=stage\nRUN echo \"[$A]\" > /c\n",
    "an argument below a variable": ("FROM busybox:e2e\nARG V=arg\nENV V=env\nRUN echo $V > /v\nLABEL v=$V\n", {"buildargs": {"V": "given"}}),
    "a variable from an argument": ("FROM busybox:e2e\nARG V=1.0\nENV VERSION=${V:-none} V=\nRUN echo \"[$VERSION] [$V]\" > /v\n", {"buildargs": {"V": "2"}}),
    "arguments that nobody declared": ("FROM busybox:e2e\nARG A\nRUN echo \"$A$B\" > /a\n", {"buildargs": {"A": "a", "B": "b", "HTTP_PROXY": "p"}}),
    "an argument without a value": ("FROM busybox:e2e\nARG A\nARG B=\nRUN echo \"[${A-unset}] [${B-unset}]\" > /a\n", {"buildargs": {"A": None}}),
    "proxies": ("FROM busybox:e2e\nRUN echo $HTTP_PROXY $no_proxy > /p\nARG HTTP_PROXY\nRUN echo $HTTP_PROXY > /q\n", {"buildargs": {"HTTP_PROXY": "http://p", "no_proxy": "x"}}),
    "copies from a number, a name and an image": "FROM busybox:e2e\nRUN echo 0 > /f\nFROM busybox:e2e AS Two\nRUN echo 2 > /f\nFROM busybox:e2e\nCOPY --from=0 /f /a\nCOPY --from=two /f /b\nCOPY --from=busybox:e2e /etc/passwd /c\n",
    "a stage on a stage": "FROM busybox:e2e AS a\nENV A=1\nWORKDIR /w\nUSER alice\nFROM a AS b\nENV B=$A\nRUN id -un > /tmp/who; pwd > /tmp/where\nFROM b\nUSER root\nRUN echo $A$B > x\n",
    "a target": ("FROM busybox:e2e AS one\nENV A=1\nFROM one AS two\nENV B=2\nFROM two AS three\nRUN exit 1\n", {"target": "two"}),
    "names with spaces": 'COPY ["a b.txt", "a c.txt", "/t o/"]\nCOPY ["we ird/", "/we ird/"]\nCOPY a*.txt /star/\nADD ["a b.txt", "/x y"]\n',
    "archives": "ADD i.tar /a/\nADD i.tar.gz /b/\nADD i.tar.bz2 /c\nADD i.tar.xz /d/e/\n",
    "what is no archive": "ADD fake.tar /a/\nADD hello.gz /b/\nADD go.mod /c\nCOPY i.tar /d/\n",
    "several at once": "ADD i.tar go.mod conf /a/\nCOPY go.mod conf/ src /b/\n",
    "an archive over files": "RUN mkdir -p /a/in && echo old > /a/in/side && echo o > /a/other && ln -s /tmp /a/l\nADD i.tar /a\n",
    "working directories with variables": "ENV D=d E=/e/f\nWORKDIR /a\nWORKDIR $D\nWORKDIR ./x/../y\nRUN pwd > /one\nWORKDIR ${E}\nWORKDIR \"sp ace\"\nRUN pwd > /two\nCOPY go.mod ./\n",
    "a working directory that is a link": "RUN mkdir /real && ln -s /real /l\nWORKDIR /l/x\nCOPY go.mod .\nRUN pwd > /p\n",
    "variables": 'ENV A=1 B="2 3" C=4\\ 5 D=\'$A\' E="$A" F="a\\"b" G=\nENV H   spaced  value \nENV A=2 I=$A\nENV J=${A}x${Q}y${Q:-z}${A:+w}\nRUN env | sort | grep -v HOSTNAME > /env\n',
    "escapes": 'ENV A=\\$x B="\\$y" C=\'\\$z\' D=a\\\\b\nLABEL l="a\\\nb" m=\\"q\\"\nRUN echo $A $B > /e\n',
    "labels": 'LABEL a=1 b=2\nLABEL b=3 "c d"="e f"\nLABEL a="" \nLABEL multi="x\\\n y"\nLABEL org.x.y="$PATH"\n',
    "labels of the call": ("FROM busybox:e2e\nLABEL a=1 b=2\n", {"labels": {"b": "3", "c": "d 'e' \"f\""}}),
    "users": "USER alice\nRUN id > /tmp/a\nUSER alice:staff\nRUN id > /tmp/b\nUSER :staff\nUSER 1234\nRUN id > /tmp/c\nUSER root:0\nRUN id > /d\nUSER nobody-there\n",
    "what is written into a volume": "RUN mkdir -p /data/sub && echo a > /data/sub/a\nVOLUME /data /other\nRUN echo b > /data/b; echo c > /other/c; echo d > /kept\nCOPY go.mod /data/\n",
    "volumes as json": 'VOLUME ["/a", "/b c"]\nVOLUME /d /e\nVOLUME /a\n',
    "shells": 'SHELL ["/bin/sh", "-exc"]\nRUN echo $- > /flags\nSHELL ["/bin/busybox", "sh", "-c"]\nRUN echo x > /x\nCMD run\nENTRYPOINT enter\nHEALTHCHECK CMD check\n',
    "a command goes with an entrypoint": 'FROM busybox:e2e AS a\nCMD ["c"]\nENTRYPOINT ["e"]\nFROM a\nENTRYPOINT ["f"]\n',
    "nothing to run": "CMD []\nENTRYPOINT []\n",
    "commands twice": 'CMD a\nCMD ["b", "c d"]\nENTRYPOINT ["x"]\nENTRYPOINT y z\n',
    "commands that look like json": "CMD ['a', 'b']\nENTRYPOINT [ \"a\"\n",
    "health": "HEALTHCHECK CMD a\nHEALTHCHECK NONE\n",
    "ports": "EXPOSE 80 443/tcp 53/udp\nARG P=8080\nEXPOSE $P 9000-9002/udp 80/tcp\n",
    "escapes by backtick": "# escape=`\nFROM busybox:e2e\nRUN echo a `\n && echo 'b\\c' > /b\nENV A=c:\\d B=`$x\nCOPY go.mod c:/x\n",
    "lines of Windows": "FROM busybox:e2e\r\nRUN echo a && \\\r\n    echo b > /b\r\nENV A=b\r\nCOPY go.mod /x\r\n",
    "a byte order mark": "\ufeffFROM busybox:e2e\nRUN echo a > /a\n",
    "directives": "# syntax=docker/dockerfile:1\n# escape=\\\n\n# a comment\nFROM busybox:e2e\n  # indented\n\tRUN echo a \\\n# between\n   # and this\n    b > /a\n",
    "letters": "from busybox:e2e As x\nrun echo a > /a\nEnV a=b\ncMd [\"x\"]\nFROM X\nlabel c=d\n",
    "owners": "COPY --chown=alice go.mod /a\nCOPY --chown=alice:0 conf /b\nCOPY --chown=12:34 go.mod /new/dir/\nADD --chown=0:staff go.mod /c\nCOPY --chown=0:staff to-dir /d\n",
    "owners with variables": "ARG U=alice\nENV G=staff\nCOPY --chown=$U:$G go.mod /a\n",
    "through links": "RUN mkdir -p /r/s && ln -s /r /l && ln -s s /r/t && ln -s /nowhere /dangling && ln -s /etc/motd /m && echo m > /etc/motd\nCOPY go.mod /l/\nCOPY conf /l/t/\nCOPY go.mod /l/t/x\nCOPY go.mod /m\nADD conf/a.conf /l\n",
    "links that are copied": "COPY to-dir /a\nCOPY to-file /b\nCOPY conf/link /c\nCOPY conf /d\nCOPY to-dir/sub /e\nCOPY to-* /f/\n",
    "slashes": "COPY conf /a\nCOPY conf/ /b/\nCOPY conf/. /c\nCOPY ./conf /d/.\nCOPY go.mod /e/f/\nCOPY go.mod /g/./h\nCOPY /go.mod /i\nCOPY empty /k\n",
    "directories over each other": "RUN mkdir -p /a/sub && echo old > /a/sub/c.conf && echo mine > /a/mine && chmod 700 /a/sub\nCOPY conf /a\nCOPY src /a/sub/\n",
    "removing": "RUN mkdir /d && touch /d/a /d/b\nRUN rm /d/a\nRUN rm -r /d && mkdir /d && touch /d/c\nRUN mv /etc/group /group\nRUN rm -r /home && echo x > /home\n",
    "many names": "RUN echo a > /a && ln /a /b && cp -a /a /c && ln -s /nope /d && mknod /p p && chmod 4755 /c && chown 7:8 /c\nRUN chmod 600 /b\nRUN rm /a\n",
    "the root itself": "WORKDIR /\nCOPY go.mod .\nCOPY conf .\nCOPY . ./\n",
    "triggers": "FROM busybox:e2e AS base\nONBUILD RUN echo triggered > /t\nONBUILD ENV A=b\nONBUILD COPY go.mod /g\nRUN echo before > /b\nFROM base\nRUN echo $A > /a\n",
    "exec form": 'RUN ["/bin/sh", "-c", "echo $0 > /a", "x y"]\nRUN [ "touch", "/b c" ]\nRUN ["/bin/sh", "-c", "echo \\"q\\" > /q"]\n',
}

# Each is refused.
BAD = {
    "nothing": "", "comments alone": "# a\n\n# b\n", "no stage": "RUN a\n", "an argument alone": "ARG a=b\n", "no image": "FROM\n",
    "an empty name": "FROM ${X}\n",  "a bad tag": "FROM busybox:a:b\n", "too much for FROM": "FROM busybox:e2e a b\n",
    "a bad stage name": "FROM busybox:e2e AS 1a\n", "a stage name with signs": "FROM busybox:e2e AS a/b\n", "no stage name": "FROM busybox:e2e AS\n",
    "an unknown instruction": BASE + "NOPE a\n", "an instruction alone": BASE + "COPY\n", "one word for COPY": BASE + "COPY a\n", "one word for ADD": BASE + "ADD a\n",
    "an unknown flag": BASE + "COPY --nope=1 a b\n", "a flag without a value": BASE + "COPY --chown a b\n", "a flag of another": BASE + "WORKDIR --from=a /x\n",
    "a flag twice": BASE + "COPY --chown=1 --chown=2 go.mod b\n", "a missing file": BASE + "COPY nope /x\n", "a pattern for nothing": BASE + "COPY nope* /x\n",
    "out of the context": BASE + "COPY ../../etc/shadow /x\n", "several onto one": BASE + "COPY go.mod main.go /x\n", "a pattern onto one": BASE + "COPY a*.txt /x\n",
     "a stage that is not yet": BASE + "COPY --from=1 /a /b\n", 
    "a missing file in a stage": "FROM busybox:e2e AS a\nFROM busybox:e2e\nCOPY --from=a /nope /y\n", "an unknown owner": BASE + "COPY --chown=nobody-there go.mod /x\n",
    "an unknown group": BASE + "COPY --chown=alice:nobody-there go.mod /x\n", "onto a file": BASE + "RUN echo > /f\nCOPY go.mod /f/\n", "a directory onto a file": BASE + "RUN echo > /f\nCOPY conf /f\n",
    "below a file": BASE + "RUN echo > /f\nCOPY go.mod /f/x\n", "a file onto a directory": BASE + "RUN mkdir -p /x/go.mod\nCOPY go.mod /x/\n", "a command that fails": BASE + "RUN exit 7\n", "a command that is not there": BASE + 'RUN ["nope"]\n',
    "a shell that is not there": BASE + 'SHELL ["/nope"]\nRUN a\n', "a shell in words": BASE + "SHELL /bin/sh -c\n", "an empty shell": BASE + "SHELL []\n",
    "a user that is not there": BASE + "USER nobody-there\nRUN true\n", "no user": BASE + "USER\n", "too many users": BASE + "USER a b\n",
    "ENV with one word": BASE + "ENV a\n", "ENV half way": BASE + "ENV a=b c\n", "ENV without a name": BASE + "ENV =b\n", "an open quote": BASE + "ENV a=\"b\n",
    "LABEL with one word": BASE + "LABEL a\n", "LABEL without a name": BASE + "LABEL =b\n", "no ports": BASE + "EXPOSE\n", "a bad port": BASE + "EXPOSE a\n",
    "a bad protocol": BASE + "EXPOSE 1/xyz\n", "a port too far": BASE + "EXPOSE 70000\n", "a range backwards": BASE + "EXPOSE 9-3\n", "no volume": BASE + "VOLUME\n",
    "an empty volume": BASE + 'VOLUME ["  "]\n', "no directory": BASE + "WORKDIR\n", "a directory that is a file": BASE + "RUN echo > /f\nWORKDIR /f\n",
    "a bad signal": BASE + "STOPSIGNAL NOPE\n", "two signals": BASE + "STOPSIGNAL 1 2\n", "no health": BASE + "HEALTHCHECK\n", "bad health": BASE + "HEALTHCHECK BAD a\n",
    "health with an unknown flag": BASE + "HEALTHCHECK --x=1 CMD a\n", "a bad time": BASE + "HEALTHCHECK --interval=1 CMD a\n", "a short time": BASE + "HEALTHCHECK --interval=1us CMD a\n",
    "negative retries": BASE + "HEALTHCHECK --retries=-1 CMD a\n", "arguments for NONE": BASE + "HEALTHCHECK NONE a\n", "no command for health": BASE + "HEALTHCHECK CMD\n",
    "a trigger in a trigger": BASE + "ONBUILD ONBUILD RUN a\n", "FROM in a trigger": BASE + "ONBUILD FROM a\n", "an author in a trigger": BASE + "ONBUILD MAINTAINER a\n",
    "no trigger": BASE + "ONBUILD\n", "an unknown trigger": BASE + "ONBUILD NOPE a\n", "no argument": BASE + "ARG\n", "an argument without a name": BASE + "ARG =a\n",
    "a bad expansion": BASE + "ENV a=${b\n", "a bad modifier": BASE + "ENV a=${b:x}\n", "a missing variable": BASE + "ENV a=${b:?needed}\n",
    "a bad escape": "# escape=x\n" + BASE, "two escapes": "# escape=`\n# escape=`\n" + BASE, "an archive with holes": BASE + "ADD broken.tar.gz /x\n",
    "no author": BASE + "MAINTAINER\n", "an empty image": "FROM scratch\n", "a command on nothing": "FROM scratch\nRUN a\n",
}
BROKEN = {"broken.tar.gz": gzip.compress(INNER, mtime=0)[:-30]}
