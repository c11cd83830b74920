// iostream and containers, constructors and destructors of globals, virtual calls.
#include <algorithm>
#include <cstdio>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

struct Noisy {
    std::string name;
    explicit Noisy(std::string n) : name(std::move(n)) { std::cout << "made " << name << '\n'; }
    ~Noisy() { std::cout << "gone " << name << std::endl; }
};
static Noisy global("global");

struct Shape {
    virtual ~Shape() = default;
    virtual double area() const = 0;
};
struct Square : Shape {
    double side;
    explicit Square(double s) : side(s) {}
    double area() const override { return side * side; }
};
struct Circle : Shape {
    double radius;
    explicit Circle(double r) : radius(r) {}
    double area() const override { return 3.14159265358979 * radius * radius; }
};

int main(int argc, char **argv) {
    std::map<std::string, std::vector<int>> index;
    std::unordered_map<int, std::string> words;
    std::string line;
    int number = 0;
    while (std::getline(std::cin, line)) {
        std::istringstream in(line);
        for (std::string word; in >> word; number++) {
            index[word].push_back(number);
            words.emplace(number, word);
        }
    }
    for (const auto &[word, places] : index) {
        std::cout << std::left << std::setw(8) << word;
        for (int place : places) std::cout << ' ' << place;
        std::cout << '\n';
    }
    std::vector<std::unique_ptr<Shape>> shapes;
    for (int i = 1; i < 2000; i++)
        if (i % 2) shapes.push_back(std::make_unique<Square>(i));
        else shapes.push_back(std::make_unique<Circle>(i));
    std::sort(shapes.begin(), shapes.end(), [](auto &a, auto &b) { return a->area() > b->area(); });
    double sum = std::accumulate(shapes.begin(), shapes.end(), 0.0, [](double s, auto &x) { return s + x->area(); });
    std::cout << std::fixed << std::setprecision(3) << sum << ' ' << shapes.front()->area() << '\n';
    std::set<std::string> big;
    for (int i = 0; i < 100000; i++) big.insert(std::to_string(i * 7919L % 100003));
    std::cout << big.size() << ' ' << *big.begin() << ' ' << *big.rbegin() << '\n';
    std::FILE *f = std::fopen(argc > 1 ? argv[1] : "out", "w");
    if (!f) return 1;
    for (const auto &s : big) std::fprintf(f, "%s\n", s.c_str());
    std::fclose(f);
    std::cerr << words.size() << " words" << std::endl;
    std::exit(5);
}
